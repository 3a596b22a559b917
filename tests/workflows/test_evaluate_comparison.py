import json
from dataclasses import replace

import numpy as np
import pytest

from bertjax.checkpoints.folder import load, save
from bertjax.checkpoints.run_file import RunFile
from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate_comparison import (
    comparison_findings,
    comparison_section,
    load_other,
    measure_comparison,
    other_probabilities,
)
from bertjax.workflows.evaluate_rows import read_rows

LABELS = ("a", "b")
TARGETS = [0, 0, 0, 1, 1]
THIS = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
OTHER = np.array([[0.9, 0.1], [0.3, 0.7], [0.7, 0.3], [0.6, 0.4], [0.95, 0.05]])
TEXTS = ["zero", "one\ntwo", "two", "three", "f" * 300]


@pytest.fixture(scope="module")
def facts(make_rows) -> dict:
    return measure_comparison(make_rows(TEXTS, TARGETS), THIS, OTHER, LABELS, ("mine", "theirs"))


def test_facts_are_json_and_tell_the_two_apart(facts):
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["contingency"] == {"both": 1, "this_only": 3, "other_only": 1, "neither": 0}
    # Of 4 fair coins 0, 1, 3 or 4 fall on heads.
    assert facts["mcnemar"] == {
        "p_value": pytest.approx(10 / 16), "method": "exact", "statistic": None,
    }  # fmt: skip
    accuracy = facts["differences"]["accuracy"]
    assert (accuracy["this"], accuracy["other"]) == (0.8, 0.4)
    assert accuracy["difference"] == pytest.approx(0.4)
    assert accuracy["low"] < 0.4 < accuracy["high"]
    assert [one["row"] for one in facts["this_only"]] == [6, 3, 5]  # the other's surest first
    assert facts["other_only"] == [
        {"row": 4, "label": "a", "this": ["b", 0.6], "other": ["a", 0.7], "text": "two"}
    ]


def test_the_section_says_whether_it_may_be_chance(facts):
    section = comparison_section(facts)
    assert section.sentences[1] == (
        "This run alone has 3 rows right, the other alone 1 row: McNemar's test (exact) gives "
        "p = 0.625, so that may well be by chance."
    )
    scores, counts, ours, theirs = section.tables
    assert scores.rows[0][:4] == ("Accuracy", "0.800", "0.400", "+0.400")
    assert counts.rows == (("This right", 1, 3), ("This wrong", 1, 0))
    assert ours.rows[0] == (6, "b", "b 90.0%", "a 95.0%", "f" * 219 + "…")
    assert ours.rows[1][-1] == "one two"
    assert theirs.rows == ((4, "a", "b 60.0%", "a 70.0%", "two"),)
    [finding] = comparison_findings(facts)
    assert finding.text.startswith("Not surely better or worse than theirs: ")
    assert not finding.grave


def test_a_clear_difference_is_called_one(make_rows):
    this, other = np.tile([0.9, 0.1], (60, 1)), np.tile([0.9, 0.1], (60, 1))
    other[:30] = [0.2, 0.8]
    rows = make_rows(["x"] * 60)
    facts = measure_comparison(rows, this, other, LABELS, ("mine", "theirs"))
    section = comparison_section(facts)
    assert "(by chi-square) gives p = 1.2e-07, so that would be rare" in section.sentences[1]
    assert section.tables[2].caption.endswith("10 of 30, the surest errors first")
    assert len(section.tables[2].rows) == 10
    assert len(section.tables) == 3
    [finding] = comparison_findings(facts)
    assert finding.text.startswith("Surely better than theirs: +3")
    turned = measure_comparison(rows, other, this, LABELS, ("mine", "theirs"))
    [finding] = comparison_findings(turned)
    assert finding.text.startswith("Surely worse than theirs: -6")
    assert finding.grave


@pytest.fixture(scope="module")
def turned(run_folder, tmp_path_factory):
    """The same run, with its classes in another order and other names of columns."""
    checkpoint = load(run_folder)
    labels = checkpoint.labels[::-1]
    params = dict(checkpoint.params)
    head = params["classifier"]
    params["classifier"] = {"w": head["w"][:, ::-1], "b": head["b"][::-1]}
    folder = tmp_path_factory.mktemp("turned") / "run"
    config = replace(checkpoint.config, id2label=labels)
    save(replace(checkpoint, params=params, config=config), folder)
    return folder


def test_classes_may_stand_in_another_order(run_folder, turned, table_file):
    labels = Predictor.load(run_folder).labels
    config = EvaluateConfig(run=str(run_folder), data=str(table_file), compare=str(turned))
    other = load_other(config, labels)
    assert other.predictor.labels == labels[::-1]
    again = load_other(replace(config, compare=str(run_folder)), labels)
    rows = read_rows(config, other.predictor.run, labels)
    found = other_probabilities(config, other, rows)
    np.testing.assert_allclose(found, other_probabilities(config, again, rows), atol=1e-6)
    # It reads its own columns, whatever the rows are of; unless it has none.
    blank = replace(rows, texts=[""] * 60)
    np.testing.assert_array_equal(other_probabilities(config, other, blank), found)
    other.predictor.run = RunFile()
    assert np.ptp(other_probabilities(config, other, blank), axis=0).max() < 1e-6
    other.predictor.run = replace(RunFile(), text=("nothing",), label="tag")
    with pytest.raises(UserError, match="has no column 'nothing'"):
        other_probabilities(config, other, rows)


def test_a_run_of_other_classes_or_none_is_one_line(run_folder, table_file, tmp_path):
    config = EvaluateConfig(
        run="mine", data=str(table_file), compare=str(run_folder), tracking_uri=None
    )
    with pytest.raises(UserError) as caught:
        load_other(config, ("animals", "cars", "weather"))
    assert str(caught.value) == (
        f"--compare {run_folder} has the classes animals, money, weather, but mine has animals, "
        "cars, weather: compare runs of the same classes"
    )
    with pytest.raises(UserError) as caught:
        load_other(replace(config, compare=str(tmp_path / "no")), LABELS)
    assert "\n" not in str(caught.value)
