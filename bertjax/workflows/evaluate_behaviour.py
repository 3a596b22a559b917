"""Behavioural tests in a report of `bertjax evaluate`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.evaluation.behaviour import BUILT_IN, Direction, Invariance, Minimum, Test
from bertjax.evaluation.behaviour_outcomes import run_tests
from bertjax.evaluation.figures import Intervals, Span
from bertjax.evaluation.intervals import wilson
from bertjax.evaluation.report import Finding, Section, Table
from bertjax.evaluation.slices import SMALL
from bertjax.workflows.evaluate_facts import storable
from bertjax.workflows.evaluate_rows import Rows
from bertjax.workflows.user_code import load_user_code
from bertjax.workflows.wording import plural, short

Facts = dict[str, Any]

ROWS = 100  # of the table that are changed
_NAMED = 4  # tests in a sentence
_NAME = 60  # letters of a test
_MANY = 0.05  # share of failed cases from which a test is a matter


def read_tests(path: Path) -> dict[str, Test]:
    """The tests that a file makes, by the names of its variables, in their order.

    Raises:
        UserError: the file cannot be run, or makes none.
    """
    module = load_user_code(path, "behavioural tests")
    found = {
        name.replace("_", " "): value
        for name, value in vars(module).items()
        if isinstance(value, Invariance | Direction | Minimum)
    }
    if not found:
        raise UserError(
            f"{path} makes no behavioural test: it takes one such as "
            "`lower = Invariance(str.lower)`, of bertjax.evaluation.behaviour"
        )
    return found


def measure_behaviour(
    probabilities: Callable[[Sequence[str]], np.ndarray],
    labels: Sequence[str],
    rows: Rows,
    own: Mapping[str, Test],
    seed: int = 0,
) -> Facts:
    """The built-in tests, and the user's own, on rows of the table that are drawn by the seed.

    Returns:
        rows (numbers of those drawn), and tests: a list of name, kind, must, cases, failed, rate
        (None without a case), raised, error, and examples (text, changed, was, became).

    Raises:
        UserError: a test is about a class that the model does not have.
    """
    filled = [row for row, text in enumerate(rows.texts) if text.strip()]
    order = np.random.default_rng(seed).permutation(len(filled))[:ROWS]
    drawn = sorted(filled[i] for i in order)
    outcomes = run_tests(
        {**BUILT_IN, **own},
        lambda many: probabilities([storable(text) for text in many]),
        labels,
        [rows.texts[row] for row in drawn],
    )
    tests = []
    for outcome in outcomes:
        values = asdict(outcome) | {"error": storable(outcome.error)}
        values["rate"] = outcome.failed / outcome.cases if outcome.cases else None
        values["examples"] = [
            {
                "text": storable(case.text),
                "changed": None if case.changed is None else storable(case.changed),
                "was": list(case.was),
                "became": list(case.became),
            }
            for case in outcome.examples
        ]
        tests.append(values)
    return {"rows": rows.numbers[drawn].tolist(), "tests": tests}


def behaviour_section(facts: Facts) -> Section:
    """The table of tests, and a table of cases that failed."""
    tests = facts["tests"]
    clean = sum(not test["failed"] and not test["raised"] for test in tests)
    sentences = [
        f"{clean} of {plural(len(tests), 'test')} passed without a failure. Tests that bring no "
        f"texts change those of {plural(len(facts['rows']), 'row')}, drawn at random; what is not "
        "changed by a test is no case of it."
    ]
    for test in tests:
        if test["raised"]:
            count = plural(test["raised"], "text")
            sentences.append(f"{test['name']} raised an error on {count}: {short(test['error'])}")
    lines = tuple(
        (
            test["name"],
            _verdict(test),
            test["cases"],
            test["failed"],
            100 * (test["rate"] or 0.0),
            test["must"],
        )
        for test in tests
    )
    header = ("Test", "Verdict", "Cases", "Failed", "Failed in %", "What must hold")
    tables = [Table("Tests", header, lines)]
    examples = tuple(
        (test["name"], *_example(case)) for test in tests for case in test["examples"][:3]
    )
    if examples:
        header = ("Test", "Prediction", "Text, and what became of it")
        tables.append(Table("Cases that failed, the worst of each test", header, examples))
    figures = _picture(tests)
    return Section("behaviour", "Behavioural tests", tuple(sentences), figures, tuple(tables))


def behaviour_findings(facts: Facts) -> Iterator[Finding]:
    """What failed, in a sentence, and what raised an error."""
    failed = [test for test in facts["tests"] if test["failed"]]
    failed.sort(key=lambda test: -test["rate"])
    if failed:
        said = ", ".join(
            f"{short(test['name'], _NAME)} ({test['rate']:.1%} of {test['cases']:,})"
            for test in failed[:_NAMED]
        )
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        grave = any(test["rate"] > _MANY for test in failed)
        yield Finding(f"Behavioural tests with failures: {said}{more}.", grave, "behaviour")
    else:
        yield Finding("No case of a behavioural test failed.", False, "behaviour")
    for test in facts["tests"]:
        if test["raised"]:
            text = (
                f"The behavioural test {short(test['name'], _NAME)} failed itself on "
                f"{plural(test['raised'], 'text')}: {short(test['error'])}"
            )
            yield Finding(text, True, "behaviour")


def _picture(tests: Sequence[Facts]) -> tuple[Intervals, ...]:
    """The share of each test's cases that passed, if any test has one."""
    spans = tuple(
        Span(
            test["name"],
            1 - test["rate"],
            *wilson(test["cases"] - test["failed"], test["cases"]),
            test["cases"] < SMALL,
        )
        for test in tests
        if test["cases"]
    )
    title = "Share of the cases that passed, and between what it lies (95 %)"
    return (Intervals("behaviour", title, spans, 1.0, "every case"),) if spans else ()


def _verdict(test: Facts) -> str:
    if not test["cases"]:
        return "no case"
    return "failed" if test["failed"] else "passed"


def _example(case: Facts) -> tuple[str, str]:
    """(both predictions, both texts)."""
    (old, before), (new, after) = case["was"], case["became"]
    if case["changed"] is None:
        return f"{new} {after:.1%}\nexpected: {old} {before:.1%}", short(case["text"])
    texts = f"{short(case['text'])}\n→ {short(case['changed'])}"
    return f"{old} {before:.1%}\n→ {new} {after:.1%}", texts
