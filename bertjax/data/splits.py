"""Stratified splits: every class keeps its share of the rows on both sides."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bertjax.data.labels import quoted
from bertjax.errors import UserError

MIN_CLASS_ROWS = 2  # one for each side


class Parts(NamedTuple):
    """Row indices, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_parts(
    labels: Sequence[str], test_size: float, validation_size: float, seed: int
) -> Parts:
    """Test rows first, validation rows from what is left.

    Args:
      test_size, validation_size: shares of all rows; 0: no such rows.

    Raises:
      UserError: as `split_rows`; or the shares leave no row to train on.
    """
    check_shares(test_size, validation_size)
    train, test, validation = np.arange(len(labels)), np.arange(0), np.arange(0)
    if test_size:
        train, test = split_rows(labels, test_size, seed)
    if validation_size:
        left = [labels[i] for i in train.tolist()]
        kept, held_out = split_rows(left, validation_size / (1 - test_size), seed)
        train, validation = train[kept], train[held_out]
    return Parts(train, validation, test)


def split_piece(
    labels: np.ndarray,
    before: np.ndarray,
    test_size: float,
    validation_size: float,
    seed: Sequence[int],
) -> Parts:
    """Split a piece of a table that is too long to be split at once.

    Of each class, the pieces up to this one give its share to each part, rounded down; which rows
    of the piece do so is drawn at random.

    Args:
      labels: class of each row [N] int.
      before: rows of each class in the pieces before this one [C].
      seed: of the draw; another for each piece.
    """
    part_of = np.zeros(len(labels), np.int8)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels).astype(int).tolist():
        rows: np.ndarray = rng.permutation(np.flatnonzero(labels == label))
        start = int(before[label])
        held_out = [
            math.floor((start + len(rows)) * share) - math.floor(start * share)
            for share in (test_size, test_size + validation_size)
        ]
        part_of[rows[: held_out[1]]] = 1
        part_of[rows[: held_out[0]]] = 2
    return Parts(*(np.flatnonzero(part_of == part) for part in range(3)))


def check_shares(test_size: float, validation_size: float) -> None:
    """Raise a UserError if they leave no row to train on."""
    if test_size + validation_size >= 1:
        raise UserError(
            f"test_size {test_size} and validation_size {validation_size} leave no row to train on"
        )


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
    check_counts(counts, size)

    from sklearn.model_selection import train_test_split

    rest, held_out = train_test_split(
        np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
    )
    return np.sort(rest), np.sort(held_out)


def check_counts(counts: Counter[str], size: float) -> None:
    """Raise a UserError if a class, or a side, has too few rows to be split."""
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
