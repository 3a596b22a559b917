import json

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.workflows.evaluate_behaviour import (
    behaviour_findings,
    behaviour_section,
    measure_behaviour,
    read_tests,
)

LABELS = ("animals", "money")
FILE = """
from bertjax.evaluation.behaviour import Direction, Invariance, Minimum, fill

def other(text):
    if "3" in text:
        raise ValueError("three")
    return text.replace("cat", "bank")

no_matter = Invariance(other)
more_money = Direction("money", lambda text: text + " bank")
plain = Minimum("animals", fill("a {} {}", ["cat"], ["1", "\\ud800"]))
broken = Minimum("money", ["no such word"])
count = 3
"""


def probabilities(texts):
    """0.8 of money with a bank, else 0.4."""
    money = np.array([0.8 if "bank" in text.lower() else 0.4 for text in texts])
    return np.stack([1 - money, money], axis=1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "behaviour.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_tests_are_found_by_their_names_in_order(file):
    assert list(read_tests(file)) == ["no matter", "more money", "plain", "broken"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def (:", "behaviour.py, line 1 is not Python: invalid syntax"),
        ("", "behaviour.py makes no behavioural test: it takes one such as "),
        ("def test(text): return text", "makes no behavioural test"),
        (
            "from bertjax.evaluation.behaviour import Minimum\nx = Minimum('a', 'text')",
            "behaviour.py, line 2, failed: TypeError: texts is 'text', expected a list of texts",
        ),
    ],
)
def test_a_file_without_tests_is_one_line(source, says, file):
    file.write_text(source)
    with pytest.raises(UserError) as caught:
        read_tests(file)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the behavioural tests in .*no\.py: No such"):
        read_tests(tmp_path / "no.py")


@pytest.fixture
def facts(file, make_rows) -> dict:
    rows = make_rows([*(f"a cat of row {i}" for i in range(5)), "", " ", "a dog"])
    return measure_behaviour(probabilities, LABELS, rows, read_tests(file))


def test_facts_are_json_of_rows_that_have_words(facts):
    assert json.loads(json.dumps(facts, allow_nan=False).encode()) == facts
    assert facts["rows"] == [2, 3, 4, 5, 6, 9]
    found = {test["name"]: test for test in facts["tests"]}
    assert found["capital letters"]["cases"] == 6
    assert found["capital letters"]["rate"] == 0
    assert (found["no matter"]["cases"], found["no matter"]["raised"]) == (4, 1)
    assert found["no matter"]["rate"] == 1
    assert found["no matter"]["error"] == "ValueError: three"
    assert found["more money"]["failed"] == 0
    assert found["plain"]["failed"] == 0
    assert found["broken"]["examples"] == [
        {"text": "no such word", "changed": None, "was": ["money", 0.4], "became": ["animals", 0.6]}
    ]


def test_rows_are_drawn_by_the_seed_and_not_too_many(make_rows):
    rows = make_rows([f"row {i}" for i in range(500)])
    found = [measure_behaviour(probabilities, LABELS, rows, {}, seed)["rows"] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 100
    assert found[0] == sorted(set(found[0]))


def test_the_section_says_what_failed_and_what_raised(facts):
    section = behaviour_section(facts)
    tests, failures = section.tables
    verdicts = {line[0]: line[1] for line in tests.rows}
    assert verdicts["no matter"] == "failed"
    assert verdicts["plain"] == "passed"
    assert verdicts["full stop at the end, or none"] == "passed"
    assert [line for line in tests.rows if line[0] == "broken"] == [
        ("broken", "failed", 1, 1, 100.0, "the prediction is money")
    ]
    assert section.sentences[0].startswith("7 of 9 tests passed without a failure.")
    assert section.sentences[1] == "no matter raised an error on 1 text: ValueError: three"
    assert failures.rows[-1] == (
        "broken", "animals 60.0%\nexpected: money 40.0%", "no such word",
    )  # fmt: skip
    assert failures.rows[0] == (
        "no matter",
        "animals 60.0%\n→ money 80.0%",
        "a cat of row 0\n→ a bank of row 0",
    )


def test_the_picture_has_the_share_that_passed(facts):
    [figure] = behaviour_section(facts).figures
    spans = {span.name: span for span in figure.spans}
    assert spans["no matter"].value == 0
    assert spans["plain"].value == spans["plain"].high == 1
    assert spans["plain"].low == pytest.approx(2 / (2 + 1.96**2), abs=1e-3)  # Wilson's of 2 of 2
    assert spans["plain"].faint


def test_findings_name_what_fails_most_and_what_raised(facts):
    first, second = behaviour_findings(facts)
    assert first.text == (
        "Behavioural tests with failures: no matter (100.0% of 4), broken (100.0% of 1)."
    )
    assert first.grave
    assert second.text == (
        "The behavioural test no matter failed itself on 1 text: ValueError: three"
    )


def test_a_test_without_a_case_has_no_verdict(make_rows):
    facts = measure_behaviour(probabilities, LABELS, make_rows(["..."]), {})
    section = behaviour_section(facts)
    verdicts = {line[0]: line[1] for line in section.tables[0].rows}
    assert verdicts["a typo"] == verdicts["lower case"] == "no case"
    [finding] = behaviour_findings(facts)
    assert finding.text == "No case of a behavioural test failed."
    none = measure_behaviour(probabilities, LABELS, make_rows([""]), {})
    assert behaviour_section(none).figures == ()
