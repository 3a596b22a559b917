"""What a threshold costs and gains: rows with a smaller probability are not answered.

N rows, C classes, K thresholds. The confidence of a row is the probability of its predicted class;
a row is answered if that is at least the threshold.
"""

from typing import Any, NamedTuple

import numpy as np

from bertjax.evaluation.intervals import wilson


class Curve(NamedTuple):
    """What each threshold at which something changes does; [K], thresholds descending."""

    thresholds: np.ndarray
    coverage: np.ndarray  # share of the rows that are answered
    accuracy: np.ndarray  # of these


def threshold_curve(targets: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Coverage against accuracy, from the surest row to all of them (El-Yaniv & Wiener 2010).

    Args:
        targets: true classes [N] int, N > 0.
        probabilities: [N, C].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    order = np.argsort(-confidence, kind="stable")
    sorted_ = confidence[order]
    # Rows of one confidence are answered together.
    ends = np.flatnonzero(np.append(sorted_[1:] != sorted_[:-1], True))
    answered = ends + 1
    return Curve(
        sorted_[ends].astype(np.float64),
        answered / len(targets),
        right[order].cumsum()[ends] / answered,
    )


def at_threshold(
    targets: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, Any]:
    """threshold, answered (rows), coverage, accuracy of these (None of none), and its interval."""
    answered = probabilities.max(axis=1) >= threshold
    right = (probabilities.argmax(axis=1) == targets)[answered]
    count = int(answered.sum())
    return {
        "threshold": float(threshold),
        "answered": count,
        "coverage": count / len(targets),
        "accuracy": float(right.mean()) if count else None,
        "accuracy_interval": list(wilson(int(right.sum()), count)),
    }


def threshold_for(curve: Curve, accuracy: float) -> float | None:
    """The lowest threshold at which the answered rows have that accuracy; None if none has."""
    good = np.flatnonzero(curve.accuracy >= accuracy)
    return float(curve.thresholds[good[-1]]) if len(good) else None


def area_under_risk_coverage(curve: Curve, rows: int) -> float:
    """The mean share of errors over all coverages (Geifman et al. 2019), the lower the better.

    An order by chance has the share of errors of all rows. Rows of one confidence count as in any
    order.
    """
    answered = np.arange(1, rows + 1)
    ends = np.round(curve.coverage * rows)
    errors = ends * (1 - curve.accuracy)
    return float((np.interp(answered, [0, *ends], [0, *errors]) / answered).mean())


def thinned(curve: Curve, most: int = 200) -> Curve:
    """At most so many of its points, the first and the last among them."""
    if len(curve.thresholds) <= most:
        return curve
    kept = np.unique(np.linspace(0, len(curve.thresholds) - 1, most).round().astype(int))
    return Curve(*(values[kept] for values in curve))
