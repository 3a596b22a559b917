"""The numbers of a report, by hand."""

import json

import numpy as np
import pytest

from bertjax.workflows.evaluate_facts import measure
from bertjax.workflows.evaluate_rows import Training

TARGETS = [0, 0, 1, 1]
PROBABILITIES = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]]


def told(line: str) -> None:
    pass


def test_wrong_predictions_come_with_their_texts_the_surest_first(make_evaluated):
    facts = measure(make_evaluated(TARGETS, PROBABILITIES), None, {}, told)
    assert [(one["row"], one["label"], one["predicted"]) for one in facts["wrong"]] == [
        (13, "b", "a"),
        (11, "a", "b"),
    ]
    assert facts["wrong"][0]["score"] == pytest.approx(0.7)
    assert facts["wrong"][0]["label_score"] == pytest.approx(0.3)
    assert facts["wrong"][0]["text"] == "text 3 of few words"
    assert facts["accuracy"] == 0.5
    json.dumps(facts, allow_nan=False)


def test_a_user_s_slices_see_all_columns_and_the_text(make_evaluated):
    found = make_evaluated(TARGETS, PROBABILITIES)
    functions = {
        "slice_tagged": lambda row: row.tag == "a" and row["text"].startswith("text"),
        "named": lambda row: 1 // (row.title[5] != "2"),
    }
    tagged, named, *_ = measure(found, None, functions, told)["slices"]
    assert (tagged["name"], tagged["rows"], tagged["accuracy"]) == ("tagged", 2, 0.5)
    assert (named["name"], named["rows"], named["failed"]) == ("named", 3, [12])
    assert named["error"].startswith("ZeroDivisionError: ")


def test_the_rows_that_were_not_trained_on_are_scored_apart(make_evaluated):
    found = make_evaluated(TARGETS, PROBABILITIES, ["one", "two", "three", "four"])
    facts = measure(found, Training("train.csv", ["Two!", "three", "six"]), {}, told)["training"]
    assert (facts["source"], facts["rows"], facts["trained_on"]) == ("train.csv", 3, 2)
    assert (facts["others"]["rows"], facts["others"]["accuracy"]) == (2, 0.5)
    facts = measure(found, Training("t", ["one", "two", "three", "four"]), {}, told)["training"]
    assert "others" not in facts


def test_calibration_is_told_without_the_temperature_too(make_evaluated):
    found = make_evaluated(TARGETS, PROBABILITIES, temperature=2.0)
    facts = measure(found, None, {}, told)["reliability"]
    assert sum(one["count"] for one in facts["bins"]) == 4
    assert facts["mean_confidence"] == pytest.approx(0.75)
    assert sum(facts["confidence"]) == 4
    # 0.9 at a temperature of 2 was 81 / 82 at 1
    highest = facts["uncalibrated_bins"][-1]
    assert highest["confidence"] == pytest.approx((81 / 82 + 16 / 17) / 2, abs=1e-4)
    plain = measure(make_evaluated(TARGETS, PROBABILITIES), None, {}, told)["reliability"]
    assert "uncalibrated_bins" not in plain


def test_thresholds_that_may_be_wanted(make_evaluated):
    found = make_evaluated(TARGETS, PROBABILITIES, threshold=0.65)
    facts = measure(found, None, {}, told)["thresholds"]
    assert (facts["own"]["answered"], facts["own"]["accuracy"]) == (3, pytest.approx(2 / 3))
    assert [one["reached"]["threshold"] for one in facts["wanted"]] == pytest.approx([0.8] * 3)
    assert facts["error"] == 0.5
    assert facts["area_under_risk_coverage"] == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_a_single_row(make_evaluated):
    facts = measure(make_evaluated([1], [[0.2, 0.8]]), None, {}, told)
    assert facts["accuracy"] == 1.0
    assert facts["per_class"]["a"]["support"] == 0
    assert "skipped" in facts["label_issues"]
    assert facts["slices"] == []


def test_classes_that_do_not_exclude_each_other(make_evaluated):
    found = make_evaluated(
        TARGETS, np.array(PROBABILITIES) * 0.9, problem_type="multi_label_classification"
    )
    facts = measure(found, None, {}, told)
    assert "calibration" not in facts
    assert "skipped" in facts["reliability"]
    assert "skipped" in facts["label_issues"]
    assert facts["thresholds"]["wanted"][0]["reached"] is not None


def test_letters_that_no_file_can_hold(make_evaluated):
    found = make_evaluated([0, 1], [[0.1, 0.9], [0.2, 0.8]], ["\ud800", "b"])
    functions = {"slice_odd": lambda row: 1 / len(row.text.strip("\ud800"))}
    facts = measure(found, None, functions, told)
    assert facts["wrong"][0]["text"] == "?"
    assert facts["slices"][0]["failed"] == [10]
