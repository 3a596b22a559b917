"""Probabilities of classes in the columns of a table, LABEL:CLASS, as `bertjax label` writes them.

N rows, C classes.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertjax.data.labels import encode_labels, quoted
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SUM_TOLERANCE = 0.01  # of what a row's probabilities sum to: they may have been rounded
_EQUAL = 1e-6


class SoftLabels(NamedTuple):
    """How probable each class of each row is."""

    classes: tuple[str, ...]  # C, sorted
    probabilities: np.ndarray  # [N, C] float32; each row sums to 1

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of classes and probabilities."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(self.probabilities.tobytes())
        return digest.hexdigest()


def soft_column(label: str, name: str) -> str:
    """The column that holds the probability of the class `name`."""
    return f"{label}:{name}"


def soft_classes(columns: Sequence[str], label: str) -> tuple[str, ...]:
    """The classes of which these columns hold the probabilities, sorted."""
    prefix = soft_column(label, "")
    found = (column.removeprefix(prefix) for column in columns if column.startswith(prefix))
    return tuple(sorted(filter(None, found)))


def soft_labels(frame: "pd.DataFrame", label: str, labels: Sequence[str], data: str) -> SoftLabels:
    """The probabilities that stand beside the column `label`.

    Args:
        frame: N rows; the index numbers them in messages.
        labels: of the rows [N], each the most probable class.
        data: what the table is called in messages.

    Raises:
        UserError: there are no such columns, or their cells are no distributions over the classes
            of which a row's label is the most probable.
    """
    columns = list(map(str, frame.columns))
    classes = soft_classes(columns, label)
    if len(classes) < 2:
        raise UserError(
            f"{data} has no columns {label}:CLASS of the probabilities of at least two classes, "
            f"which --soft-labels reads and `bertjax label` writes; its columns are "
            f"{quoted(columns)}"
        )
    if unknown := sorted(set(labels) - set(classes)):
        raise UserError(
            f"{data} has labels without a column of probabilities: {quoted(unknown)}; there are "
            f"columns for {quoted(classes)}"
        )
    values = _numbers(frame, [soft_column(label, name) for name in classes], data)
    sums = values.sum(axis=1)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        row = int(off.argmax())
        raise UserError(
            f"{data}: the probabilities {label}:CLASS of row {frame.index[row]} sum to "
            f"{sums[row]:.4g}, not to 1{_and_more(off)}"
        )
    _check_labels(frame, label, encode_labels(labels, classes), values, classes, data)
    return SoftLabels(classes, (values / sums[:, None]).astype(np.float32))


def _numbers(frame: "pd.DataFrame", columns: Sequence[str], data: str) -> np.ndarray:
    """The cells [N, C] float64, all at least 0."""
    import pandas as pd

    values = np.stack(
        [np.asarray(pd.to_numeric(frame[name], errors="coerce"), float) for name in columns], axis=1
    )
    wrong = ~((values >= 0) & np.isfinite(values))  # a NaN is not
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        cell = frame[columns[column]].iloc[row]
        shown = "nothing" if pd.isna(cell) else repr(str(cell))
        raise UserError(
            f"{data}: row {frame.index[row]} has {shown} in the column "
            f"{columns[column]!r}, but a probability is a number from 0 to 1"
            f"{_and_more(np.asarray(wrong.any(axis=1)))}"
        )
    return values


def _check_labels(
    frame: "pd.DataFrame",
    label: str,
    targets: np.ndarray,
    values: np.ndarray,
    classes: tuple[str, ...],
    data: str,
) -> None:
    """A label that was corrected by hand, and its probabilities not, would be forgotten."""
    other = values[np.arange(len(targets)), targets] < values.max(axis=1) - _EQUAL
    if other.any():
        row = int(other.argmax())
        raise UserError(
            f"{data}: row {frame.index[row]} is {classes[targets[row]]!r} in {label!r}, but most "
            f"probable is {classes[values[row].argmax()]!r}: correct both, or train without "
            f"--soft-labels{_and_more(other)}"
        )


def _and_more(wrong: np.ndarray) -> str:
    count = int(wrong.sum()) - 1
    return f" ({count} more such row{'s' if count > 1 else ''})" if count else ""
