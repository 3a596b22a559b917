import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from bertjax.evaluation.calibration import (
    calibration_scores,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability,
)


def drawn(rows: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn as a softmax of logits says, and the logits `sharpness` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 4)) * 2.0
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    targets = (rng.random((rows, 1)) > cumulative).sum(axis=1).clip(max=3)
    return targets, (logits * sharpness).astype(np.float32)


def test_bins_hold_every_row_once_with_its_confidence_and_accuracy():
    probabilities = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    bins = reliability(np.array([0, 1, 1, 0]), probabilities, bins=4)
    assert [part.count for part in bins] == [0, 1, 0, 3]  # 0.5 belongs to (0.25, 0.5]
    assert bins[1].confidence == 0.5
    assert bins[1].accuracy == 1.0
    assert bins[3].confidence == pytest.approx(0.9)
    assert bins[3].accuracy == pytest.approx(2 / 3)
    assert (bins[3].low, bins[3].high) == (0.75, 1.0)


def test_the_error_is_the_mean_distance_of_confidence_from_accuracy():
    probabilities = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    found = expected_calibration_error(np.array([0, 1, 1, 0]), probabilities, bins=4)
    assert found == pytest.approx((0.5 + 3 * (0.9 - 2 / 3)) / 4)


def test_probabilities_that_are_true_have_no_error():
    targets, logits = drawn(200_000, 0)
    assert expected_calibration_error(targets, softmax(logits, axis=1)) < 0.005


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_logits_that_are_too_large_or_too_small(sharpness):
    targets, logits = drawn(50_000, 1, sharpness)
    assert fit_temperature(targets, logits) == pytest.approx(sharpness, rel=0.03)


def test_it_lowers_loss_and_error_on_rows_that_it_was_not_fitted_on():
    targets, logits = drawn(4_000, 2, sharpness=3.0)
    temperature = fit_temperature(targets[:2000], logits[:2000])
    scores = calibration_scores(targets[2000:], logits[2000:], temperature)
    assert scores["log_loss"] < 0.7 * scores["uncalibrated_log_loss"]
    error = scores["expected_calibration_error"]
    assert error < 0.3 * scores["uncalibrated_expected_calibration_error"]
    assert scores["temperature"] == temperature


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_no_prediction_changes(seed, sharpness):
    targets, logits = drawn(60, seed, sharpness)
    scaled = logits / np.float32(fit_temperature(targets, logits))
    np.testing.assert_array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))
    assert log_loss(targets, logits, fit_temperature(targets, logits)) <= log_loss(targets, logits)


def test_rows_without_a_mistake_and_no_rows_leave_probabilities_as_they_are():
    logits = np.eye(3, dtype=np.float32)
    assert fit_temperature(np.arange(3), logits) == 1.0
    assert fit_temperature(np.zeros(0, int), logits[:0]) == 1.0


def test_log_loss_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss as reference

    targets, logits = drawn(300, 3)
    expected = reference(targets, softmax(logits.astype(np.float64) / 1.7, axis=1))
    assert log_loss(targets, logits, 1.7) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("targets", "values"), [(np.zeros(2, int), np.zeros((3, 2))), (np.zeros(0, int), np.eye(0))]
)
def test_values_of_other_rows_are_refused(targets, values):
    with pytest.raises(ValueError, match=r"expected \[N, C\] values of N > 0 targets"):
        log_loss(targets, values)
