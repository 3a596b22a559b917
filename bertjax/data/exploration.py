"""What a table of texts holds, in numbers: lists and arrays in, plain values out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bertjax.data.cleaning import STOP_WORDS, clean_text
from bertjax.data.duplicates import Groups

_FAR = 3  # times the 99th percentile: a longest text beyond would leave a histogram of one bar


class Leak(NamedTuple):
    """A row of the one part and the first row of the other that says the same."""

    row: int
    like: int


def blank_cells(columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Cells of each column that hold nothing but spaces."""
    return {name: sum(not cell.strip() for cell in cells) for name, cells in columns.items()}


def class_counts(labels: Sequence[str]) -> dict[str, int]:
    """Rows of each class, the most frequent first; rows without a label are left out."""
    counts = Counter(label for label in labels if label)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def word_counts(texts: Sequence[str]) -> np.ndarray:
    """Words of each text [N], parted by spaces."""
    return np.array([len(text.split()) for text in texts], np.int64)


def describe_lengths(lengths: np.ndarray, limit: int | None = None) -> dict[str, Any]:
    """Of lengths [N], N > 0: min, mean, percentiles, max, and how many exceed the limit."""
    p05, median, p95, p99 = np.percentile(lengths, (5, 50, 95, 99)).tolist()
    found = {
        "min": int(lengths.min()),
        "p05": p05,
        "median": median,
        "mean": float(lengths.mean()),
        "p95": p95,
        "p99": p99,
        "max": int(lengths.max()),
    }
    if limit is not None:
        found |= {"limit": limit, "over_limit": int((lengths > limit).sum())}
    return found


def histogram(lengths: np.ndarray, bins: int = 30) -> dict[str, Any]:
    """Whole-numbered lengths [N], N > 0, in at most so many bins of one width.

    Returns:
      edges: [B + 1] int; bin b counts edges[b] <= length < edges[b + 1].
      counts: [B] int.
      beyond: lengths past the last edge, where a few are far longer than the rest; the last bin
        counts them too.
    """
    least, most = int(lengths.min()), int(lengths.max())
    usual = int(np.percentile(lengths, 99))
    top = most if most <= _FAR * max(usual, 1) else max(usual, least)
    width = -(-(top - least + 1) // bins)
    edges = np.arange(least, top + width + 1, width)
    shown = np.minimum(lengths, edges[-1] - 1)
    counts, _ = np.histogram(shown, edges)
    beyond = int((lengths >= edges[-1]).sum())
    return {"edges": edges.tolist(), "counts": counts.tolist(), "beyond": beyond}


def frequent_words(texts: Sequence[str], most: int = 60) -> list[tuple[str, int]]:
    """The words that occur most often, with how often; no stop words, no numbers."""
    counts = Counter(
        word
        for text in texts
        for word in clean_text(text).split()
        if word not in _stop_words() and not word.isnumeric()
    )
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def label_conflicts(groups: Groups, labels: Sequence[str]) -> Groups:
    """The groups of one text that carry two labels or more."""
    return [group for group in groups if len({labels[row] for row in group} - {""}) > 1]


def leaks(groups: Groups, train: Sequence[int], test: Sequence[int]) -> list[Leak]:
    """The rows of `test` that share a group with a row of `train`, ascending."""
    in_train, in_test = set(train), set(test)
    found = []
    for group in groups:
        first = next((row for row in group if row in in_train), None)
        if first is not None:
            found += [Leak(row, first) for row in group if row in in_test]
    return sorted(found)


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return STOP_WORDS | ENGLISH_STOP_WORDS
