"""Stratified splits: every class keeps its share of the rows on both sides."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bertjax.data.labels import quoted
from bertjax.errors import UserError

MIN_CLASS_ROWS = 2  # one for each side


def split_rows(labels: Sequence[str], size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row indices (rest, held out), each ascending; the same seed gives the same split.

    Args:
      labels: the label of each row.
      size: share of the rows to hold out, between 0 and 1.
      seed: of the shuffle.

    Raises:
      UserError: `size` is out of range, a class has a single row, or a side has fewer rows than
        there are classes.
    """
    if not 0 < size < 1:
        raise UserError(f"the share of rows to hold out must lie between 0 and 1, found {size}")
    counts = Counter(labels)
    _check_counts(counts, size)

    from sklearn.model_selection import train_test_split

    rest, held_out = train_test_split(
        np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
    )
    return np.sort(rest), np.sort(held_out)


def _check_counts(counts: Counter[str], size: float) -> None:
    small = sorted(name for name, count in counts.items() if count < MIN_CLASS_ROWS)
    if small:
        raise UserError(
            f"{len(small)} classes are too small to split: {quoted(small)} "
            f"(1 row each, at least {MIN_CLASS_ROWS} are needed); add rows or drop these classes"
        )
    total = counts.total()
    held_out = math.ceil(size * total)
    if min(held_out, total - held_out) < len(counts):
        raise UserError(
            f"a share of {size} splits {total} rows into {total - held_out} and {held_out}, but "
            f"each side needs a row for each of {len(counts)} classes; change the share or add rows"
        )
