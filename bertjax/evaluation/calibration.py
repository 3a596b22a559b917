"""How far probabilities can be taken at their word, and the temperature that mends them.

N rows, C classes.
"""

from typing import Any, NamedTuple

import numpy as np

BINS = 15  # of confidence, as in Guo et al. 2017
_TEMPERATURES = 0.05, 20.0  # among which one is looked for


class Bin(NamedTuple):
    """The rows whose most probable class has a probability in one interval."""

    low: float
    high: float
    count: int
    confidence: float  # mean probability of the predicted class; 0 without a row
    accuracy: float  # share of the rows that were predicted right; 0 without a row


def reliability(targets: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Confidence beside accuracy, in intervals of the same width over [0, 1].

    Args:
        targets: true classes [N] int.
        probabilities: [N, C].
    """
    targets, probabilities = _checked(targets, probabilities)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    filled = np.maximum(counts, 1)
    means = np.bincount(number, confidence, bins) / filled
    accuracies = np.bincount(number, right, bins) / filled
    return [
        Bin(i / bins, (i + 1) / bins, int(counts[i]), float(means[i]), float(accuracies[i]))
        for i in range(bins)
    ]


def expected_calibration_error(
    targets: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> float:
    """The mean distance of confidence from accuracy over the rows (Guo et al. 2017, eq. 3)."""
    found = reliability(targets, probabilities, bins)
    gaps = sum(part.count * abs(part.confidence - part.accuracy) for part in found)
    return gaps / len(targets)


def log_loss(targets: np.ndarray, logits: np.ndarray, temperature: float = 1.0) -> float:
    """The mean of -log(probability of the true class), of logits [N, C]."""
    targets, logits = _checked(targets, logits)
    from scipy.special import log_softmax

    log_probabilities = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-log_probabilities[np.arange(len(targets)), targets].mean())


def fit_temperature(targets: np.ndarray, logits: np.ndarray) -> float:
    """What logits are to be divided by for the least log loss (Guo et al. 2017, §4.2).

    The order of the classes stays, and so does every prediction. Rows that are all predicted right
    do not say how sure a prediction may be: the temperature is then 1, and so it is without rows.

    Args:
        targets: true classes [N] int, of rows that were not trained on.
        logits: [N, C].
    """
    if not len(targets) or (np.asarray(logits).argmax(axis=1) == targets).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    low, high = np.log(_TEMPERATURES)  # in the logarithm a half and a double are as far from 1
    found = minimize_scalar(
        lambda logarithm: log_loss(targets, logits, float(np.exp(logarithm))),
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration_scores(
    targets: np.ndarray, logits: np.ndarray, temperature: float = 1.0
) -> dict[str, Any]:
    """Log loss and expected calibration error of logits [N, C], ready for JSON.

    With a `temperature`, and with `uncalibrated_` before the name, without.
    """
    from scipy.special import softmax

    def scores(divisor: float) -> dict[str, float]:
        probabilities = softmax(np.asarray(logits, np.float64) / divisor, axis=1)
        error = expected_calibration_error(targets, probabilities)
        loss = log_loss(targets, logits, divisor)
        return {"log_loss": loss, "expected_calibration_error": error}

    without = {f"uncalibrated_{name}": value for name, value in scores(1.0).items()}
    return {"temperature": temperature, **scores(temperature), **without}


def _checked(targets: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets, values = np.asarray(targets), np.asarray(values)
    if not len(targets) or values.ndim != 2 or len(values) != len(targets):
        raise ValueError(
            f"expected [N, C] values of N > 0 targets, found {list(values.shape)} of {len(targets)}"
        )
    return targets, values
