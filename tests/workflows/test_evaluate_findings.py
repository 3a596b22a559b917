"""What of an evaluation is told first."""

from typing import Any

import numpy as np
import pytest

from bertjax.workflows.evaluate_facts import measure
from bertjax.workflows.evaluate_findings import confusions, find
from bertjax.workflows.evaluate_rows import Training


@pytest.fixture
def facts(make_evaluated) -> dict[str, Any]:
    """Of 90 rows, of which 3 of 30 a were taken for b; the probabilities are right."""
    targets = np.repeat(np.arange(3), 30)
    predicted = targets.copy()
    predicted[:3] = 1
    probabilities = np.eye(3)[predicted] * 0.94 + 0.02
    found = make_evaluated(targets, probabilities)
    return measure(found, Training("t", ["another"]), {}, lambda line: None)


def grave(facts: dict[str, Any], **changes: Any) -> list[str]:
    return [one.text for one in find({**facts, **changes}) if one.grave]


def test_of_a_good_run_nothing_is_grave(facts):
    assert grave({**facts, "label_issues": {"issues": []}}) == []
    said = [one.text for one in find(facts)]
    assert said[0] == "None of the 90 texts was trained on."
    assert said[1].startswith("96.7% of 90 rows predicted right; of others like them it would be")
    assert "The most frequent mistake: a taken for b, 3 times of 3." in said
    assert "10 rows without a label: left out." in said
    assert confusions(facts) == [(3, "a", "b")]


def test_rows_that_were_trained_on_are_grave_and_stand_first(facts):
    others = {"rows": 40, "accuracy": 0.9, "accuracy_interval": [0.77, 0.96]}
    training = {"source": "t", "rows": 50, "trained_on": 50, "others": others}
    assert grave(facts, training=training)[0] == (
        "50 of 90 texts were trained on, so the scores are too good. Of the 40 others 90.0% are "
        "right (77.0% to 96.0%): --held-out scores these alone."
    )
    said = [one.text for one in find({**facts, "training": training})]
    assert "96.7% of 90 rows predicted right." in said  # and nothing of others


def test_empty_texts_few_rows_and_absent_classes_are_grave(facts):
    said = grave(facts, data={**facts["data"], "rows": 20, "empty": 2})
    assert said[0].startswith("96.7% of 20 rows")
    assert "2 empty texts, 10.0% of the rows, tell the model nothing." in said
    per_class = {**facts["per_class"], "c": {**facts["per_class"]["c"], "support": 0}}
    assert grave(facts, per_class=per_class)[0].startswith("No row of 1 class: c; their scores are")
    matrix = [[30, 0, 0], [30, 0, 0], [0, 0, 30]]
    assert "Never predicted: b." in grave(facts, confusion_matrix=matrix)


def test_slices_that_are_worse_and_functions_that_failed(facts):
    worse = {"name": "short", "rows": 40, "accuracy": 0.5, "difference": -0.3, "verdict": "worse"}
    failed = {"name": "mine", "rows": 0, "failed": [3, 5], "error": "KeyError: 'x'"}
    said = grave(facts, slices=[{**worse, "failed": []}, failed])
    assert "Surely worse than the other rows: short (50.0% of 40)." in said
    assert "The function of slice mine failed on 2 rows, which are not in it: KeyError: 'x'" in said


def test_probabilities_that_are_off(facts):
    calibration = {**facts["calibration"], "expected_calibration_error": 0.12}
    reliability = {**facts["reliability"], "mean_confidence": 0.99}
    said = grave(facts, calibration=calibration, reliability=reliability)
    assert said[0] == (
        "Probabilities are 12.0% off on average, mostly too sure: finetune --validation-size 0.2 "
        "fits a temperature that mends it."
    )


def test_a_threshold_that_costs_too_much_or_is_not_there(facts):
    reached = {"threshold": 0.9, "coverage": 0.3, "accuracy": 0.95}
    thresholds = {**facts["thresholds"], "wanted": [{"wanted": 0.95, "reached": reached}]}
    assert (
        "With a threshold of 0.90, 30% of the rows are answered, and 95.0% of these right."
        in grave(facts, accuracy=0.8, thresholds=thresholds)
    )
    thresholds["wanted"] = [{"wanted": 0.95, "reached": None}]
    said = grave(facts, accuracy=0.8, thresholds=thresholds)
    assert any(one.startswith("No threshold reaches 95% accuracy") for one in said)


def test_many_labels_in_doubt_are_grave(facts):
    issues = [{}] * 9
    assert "9 labels are likely wrong (10.0%): read them first." in grave(
        facts, label_issues={"issues": issues}
    )
    assert grave(facts, label_issues={"issues": issues[:1]}) == []
