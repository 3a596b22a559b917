"""Two classifiers on the same rows: is one better, or was it chance?

N rows, C classes, B resamples, U kinds of rows: those with the same true class and predictions.
"""

from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95  # of intervals
EXACT_BELOW = 25  # rows that one alone has right: fewer are too few for an approximation
SCORES = ("accuracy", "weighted_f1", "macro_f1")
_CELLS = 5_000_000  # of an array of resamples


class Contingency(NamedTuple):
    """Rows by which of the two have them right."""

    both: int
    first_only: int
    second_only: int
    neither: int


class McNemar(NamedTuple):
    """A test of whether both are right equally often."""

    p_value: float
    method: str  # exact or chi-square
    statistic: float | None  # of chi-square, with the correction for continuity


class Difference(NamedTuple):
    """A score of both, and second - first with its interval."""

    first: float
    second: float
    difference: float
    low: float
    high: float


def contingency(targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> Contingency:
    """Of true classes and two predictions, [N] int each."""
    a, b = np.asarray(first) == targets, np.asarray(second) == targets
    return Contingency(*(int(part.sum()) for part in (a & b, a & ~b, ~a & b, ~a & ~b)))


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """McNemar's test (1947) of the rows that one alone has right.

    By the binomial distribution where they are few, else by chi-square with Edwards's correction.
    """
    discordant = first_only + second_only
    if not discordant:
        return McNemar(1.0, "exact", None)
    if discordant < EXACT_BELOW:
        from scipy.stats import binomtest

        return McNemar(float(binomtest(first_only, discordant).pvalue), "exact", None)
    from scipy.stats import chi2

    statistic = max(abs(first_only - second_only) - 1, 0) ** 2 / discordant
    return McNemar(float(chi2.sf(statistic, 1)), "chi-square", float(statistic))


def bootstrap_differences(
    targets: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Each of `SCORES` of both, and how far the difference could be chance.

    The rows are drawn anew, with both predictions of a row (Efron & Tibshirani 1993, §8.3), and the
    middle `LEVEL` of the differences is the interval. Scores are as of `classification_scores`.

    Args:
        targets, first, second: true classes and two predictions, [N] int each, N > 0.
        classes: C.
    """
    rows = np.stack([np.asarray(part, np.int64) for part in (targets, first, second)], axis=1)
    kinds, counts = np.unique(rows, axis=0, return_counts=True)  # [U, 3], [U]
    true, predicted = _members(kinds[:, 0], classes), kinds[:, 1:]
    found = _scores(counts[None].astype(np.float64), kinds[:, 0], true, predicted)  # [1, 2, 3]
    # To draw N rows of N is to draw how many come of each kind.
    rng = np.random.default_rng(seed)
    shares, size = counts / len(rows), max(_CELLS // len(kinds), 1)
    drawn = []
    for start in range(0, resamples, size):
        many = min(size, resamples - start)
        sample = rng.multinomial(len(rows), shares, size=many).astype(np.float64)  # [B, U]
        values = _scores(sample, kinds[:, 0], true, predicted)
        drawn.append(values[:, 1] - values[:, 0])  # [B, 3]
    tail = (1 - LEVEL) / 2
    lows, highs = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return {
        name: Difference(*map(float, (a, b, b - a, low, high)))
        for name, a, b, low, high in zip(SCORES, *found[0], lows, highs, strict=True)
    }


def _scores(
    counts: np.ndarray, targets: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> np.ndarray:
    """`SCORES` of two classifiers [B, 2, 3], from how many rows there are of each kind [B, U].

    Args:
        targets: of each kind [U].
        true: which kinds are of a class [U, C].
        predicted: by both, of each kind [U, 2].
    """
    rows = counts.sum(axis=1)
    support = counts @ true  # [B, C]
    both = []
    for found in predicted.T:
        right = (found == targets).astype(np.float64)  # [U]
        hits = (counts * right) @ true
        sums = support + counts @ _members(found, true.shape[1])
        f1 = np.divide(2 * hits, sums, out=np.zeros_like(hits), where=sums > 0)
        weighted = (f1 * support).sum(axis=1) / rows
        both.append(np.stack([counts @ right / rows, weighted, f1.mean(axis=1)], axis=1))
    return np.stack(both, axis=1)


def _members(numbers: np.ndarray, classes: int) -> np.ndarray:
    """Class numbers [U] -> 1.0 where a kind is of a class, else 0.0 [U, C]."""
    return (numbers[:, None] == np.arange(classes)).astype(np.float64)
