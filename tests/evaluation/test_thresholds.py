"""Coverage against accuracy, with values computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.evaluation.thresholds import (
    area_under_risk_coverage,
    at_threshold,
    thinned,
    threshold_curve,
    threshold_for,
)

# Confidences 0.9, 0.8, 0.8, 0.6, of which the second 0.8 and 0.6 are wrong.
TARGETS = np.array([0, 1, 1, 0])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.4, 0.6]])


def test_rows_of_one_confidence_are_answered_together():
    curve = threshold_curve(TARGETS, PROBABILITIES)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.accuracy.tolist() == pytest.approx([1.0, 2 / 3, 0.5])


def test_the_lowest_threshold_that_is_good_enough():
    curve = threshold_curve(TARGETS, PROBABILITIES)
    assert threshold_for(curve, 0.95) == 0.9
    assert threshold_for(curve, 0.6) == 0.8
    assert threshold_for(curve, 0.5) == 0.6
    assert threshold_for(threshold_curve(1 - TARGETS, PROBABILITIES), 0.95) is None


def test_at_a_threshold():
    found = at_threshold(TARGETS, PROBABILITIES, 0.8)  # a confidence equal to it is answered
    assert (found["answered"], found["coverage"]) == (3, 0.75)
    assert found["accuracy"] == pytest.approx(2 / 3)
    low, high = found["accuracy_interval"]
    assert low < 2 / 3 < high
    assert at_threshold(TARGETS, PROBABILITIES, 0.95)["accuracy"] is None


def test_the_area_is_the_mean_risk():
    curve = threshold_curve(TARGETS, PROBABILITIES)
    # Errors among the surest 1, 2, 3, 4: 0, a half (of two in a tie one is wrong), 1, 2.
    assert area_under_risk_coverage(curve, 4) == pytest.approx((0 + 0.25 + 1 / 3 + 0.5) / 4)
    equal = threshold_curve(TARGETS, np.array([[0.7, 0.3]] * 4))
    assert area_under_risk_coverage(equal, 4) == pytest.approx(0.5)  # an order by chance


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_every_point_of_the_curve_is_what_its_threshold_does(seed, rows):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), rows).round(1)
    targets = rng.integers(0, 3, rows)
    curve = threshold_curve(targets, probabilities)
    for threshold, coverage, accuracy in zip(*curve, strict=True):
        found = at_threshold(targets, probabilities, threshold)
        assert found["coverage"] == pytest.approx(coverage)
        assert found["accuracy"] == pytest.approx(accuracy)
    assert curve.coverage[-1] == 1.0
    assert curve.accuracy[-1] == pytest.approx((probabilities.argmax(1) == targets).mean())


def test_a_thinned_curve_keeps_its_ends():
    rng = np.random.default_rng(0)
    curve = threshold_curve(rng.integers(0, 2, 999), rng.dirichlet((1, 1), 999))
    few = thinned(curve, 10)
    assert len(few.thresholds) == 10
    assert few.coverage[[0, -1]].tolist() == curve.coverage[[0, -1]].tolist()
    assert thinned(few, 10) is few
