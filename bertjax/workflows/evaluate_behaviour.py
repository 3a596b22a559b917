"""Behavioural tests in a report of `bertjax evaluate`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.evaluation.behaviour import BUILT_IN, Direction, Invariance, Minimum, Test
from bertjax.evaluation.behaviour_outcomes import run_tests
from bertjax.evaluation.report import Section, Table
from bertjax.workflows.explore_findings import plural
from bertjax.workflows.user_code import load_user_code

Facts = dict[str, Any]

ROWS = 100  # of the table that are changed
_LETTERS = 160  # of a text in a table


def tests_in(path: Path) -> dict[str, Test]:
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
    texts: Sequence[str],
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
    filled = [row for row, text in enumerate(texts) if text.strip()]
    drawn = np.random.default_rng(seed).permutation(len(filled))[:ROWS]
    rows = sorted(filled[i] for i in drawn)
    outcomes = run_tests(
        {**BUILT_IN, **own},
        lambda many: probabilities([_written(text) for text in many]),
        labels,
        [texts[row] for row in rows],
    )
    tests = []
    for outcome in outcomes:
        values = asdict(outcome) | {"error": _written(outcome.error)}
        values["rate"] = outcome.failed / outcome.cases if outcome.cases else None
        values["examples"] = [
            {
                "text": _written(case.text),
                "changed": None if case.changed is None else _written(case.changed),
                "was": list(case.was),
                "became": list(case.became),
            }
            for case in outcome.examples
        ]
        tests.append(values)
    return {"rows": rows, "tests": tests}


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
            sentences.append(f"{test['name']} raised an error on {count}: {test['error']}")
    lines = tuple(
        (
            test["name"],
            test["must"],
            _verdict(test),
            test["cases"],
            test["failed"],
            100 * (test["rate"] or 0.0),
        )
        for test in tests
    )
    header = ("Test", "What must hold", "Verdict", "Cases", "Failed", "Failed in %")
    tables = [Table("Tests", header, lines)]
    examples = tuple(
        (test["name"], *_example(case)) for test in tests for case in test["examples"][:3]
    )
    if examples:
        header = ("Test", "Text, and what became of it", "Prediction")
        tables.append(Table("Cases that failed, the worst of each test", header, examples))
    return Section("behaviour", "Behavioural tests", tuple(sentences), (), tuple(tables))


def _verdict(test: Facts) -> str:
    if not test["cases"]:
        return "no case"
    return "failed" if test["failed"] else "passed"


def _example(case: Facts) -> tuple[str, str]:
    """(both texts, both predictions)."""
    (old, before), (new, after) = case["was"], case["became"]
    if case["changed"] is None:
        return _short(case["text"]), f"{new} {after:.1%}\nexpected: {old} {before:.1%}"
    texts = f"{_short(case['text'])}\n→ {_short(case['changed'])}"
    return texts, f"{old} {before:.1%}\n→ {new} {after:.1%}"


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _written(text: str) -> str:
    """As UTF-8 can hold it: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
