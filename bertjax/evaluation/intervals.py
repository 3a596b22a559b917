"""How far a share of rows can be trusted: intervals of shares, and of the difference of two."""

from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """Where a value lies, at some level."""

    low: float
    high: float


def wilson(right: int, count: int, level: float = LEVEL) -> Interval:
    """Of the share behind `right` of `count` rows (Wilson 1927); all of [0, 1] without a row."""
    if not count:
        return Interval(0.0, 1.0)
    z2 = _quantile(level) ** 2
    share = right / count
    centre = share + z2 / (2 * count)
    spread = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2)))
    scale = 1 + z2 / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # Rounding must not leave out the share itself.
    return Interval(float(min(max(low, 0.0), share)), float(max(min(high, 1.0), share)))


def difference(a: tuple[int, int], b: tuple[int, int], level: float = LEVEL) -> Interval:
    """Of the share of a less that of b, each (right, count > 0) of rows of its own.

    Newcombe 1998, method 10: from the Wilson intervals of both.
    """
    shares = [right / count for right, count in (a, b)]
    (low_a, high_a), (low_b, high_b) = (wilson(*one, level) for one in (a, b))
    gap = shares[0] - shares[1]
    below = np.hypot(shares[0] - low_a, high_b - shares[1])
    above = np.hypot(high_a - shares[0], shares[1] - low_b)
    return Interval(float(gap - below), float(gap + above))


def _quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))
