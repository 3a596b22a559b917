"""Labels as text <-> class indices. The classes are sorted, so they never depend on row order."""

import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from bertjax.errors import UserError

_short = reprlib.Repr()
_short.maxstring = 60


def classes_of(labels: Iterable[str] | Counter[str]) -> tuple[str, ...]:
    """The distinct labels of rows, sorted; the index of a label here is its class.

    Raises:
      UserError: there are fewer than two classes, so nothing could be learned.
    """
    counts = Counter(labels)
    classes = tuple(sorted(counts))
    if len(classes) < 2:
        found = f"only {quoted(classes)} in {counts.total()} rows" if classes else "no labelled row"
        raise UserError(
            f"at least two classes are needed, found {found}; is this the label column?"
        )
    return classes


def encode_labels(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Class indices [N] int32 of `labels`.

    Raises:
      UserError: a label is not among `classes`; lists such labels and the known ones.
    """
    index = {name: i for i, name in enumerate(classes)}
    unseen = Counter(label for label in labels if label not in index)
    if unseen:
        raise UserError(
            f"{unseen.total()} of {len(labels)} rows carry labels never seen in training: "
            f"{quoted(sorted(unseen))}; known are {quoted(classes)}; "
            "correct or drop those rows, or train again with them"
        )
    return np.array([index[label] for label in labels], np.int32)


def quoted(names: Iterable[str], limit: int = 20) -> str:
    """Names for a one-line message: quoted, escaped, shortened, and folded past `limit`."""
    names = list(names)
    shown = ", ".join(map(_short.repr, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
