"""The rows that `bertjax evaluate` scores, and which of them the run was trained on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertjax.checkpoints.run_file import RunFile
from bertjax.data.duplicates import normalise
from bertjax.data.labels import encode_labels
from bertjax.data.sources import (
    SAMPLE,
    check_columns,
    fingerprint,
    read_frame,
    read_table,
    text_of,
)
from bertjax.data.splits import split_parts
from bertjax.errors import UserError
from bertjax.workflows.configs import EvaluateConfig

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Rows:
    """The N rows of a table that have a label and are scored."""

    texts: list[str]
    labels: list[str]
    targets: np.ndarray  # [N] int32, the labels as classes of the model
    numbers: np.ndarray  # [N] int, of each in the table, from 0
    frame: "pd.DataFrame"  # the same rows with all their columns
    columns: tuple[str, ...]  # of the text
    label: str  # column
    dropped: int  # rows without a label
    fingerprint: str  # sha256 of the texts and labels of the whole table

    def among(self, kept: np.ndarray) -> "Rows":
        """Those that a mask [N] keeps."""
        indices = np.flatnonzero(kept)
        return Rows(
            [self.texts[i] for i in indices],
            [self.labels[i] for i in indices],
            self.targets[indices],
            self.numbers[indices],
            self.frame.iloc[indices],
            self.columns,
            self.label,
            self.dropped,
            self.fingerprint,
        )


class Training(NamedTuple):
    """What the run was trained on."""

    source: str
    texts: list[str]  # of the rows whose labels it learned


def read_rows(config: EvaluateConfig, run: RunFile, classes: Sequence[str]) -> Rows:
    """Read DATA, with columns as in the training unless said otherwise.

    Raises:
        UserError: it cannot be read, has no such column or no label, or one that the model has not.
    """
    label = config.label or run.label
    if label is None:
        raise UserError(f"{config.run} does not say which column holds the class: pass --label")
    columns = config.text or run.text
    frame = read_frame(config.data)
    check_columns(frame, [*columns, label], config.data)
    texts, labels = text_of(frame, columns, config.data), text_of(frame, [label], config.data)
    kept = np.array([bool(one) for one in labels])
    if not kept.any():
        raise UserError(
            f"{config.data}: every row of the label column {label!r} is empty; name another"
        )
    numbers = np.flatnonzero(kept)
    texts, labels = [texts[i] for i in numbers], [labels[i] for i in numbers]
    return Rows(
        texts,
        labels,
        encode_labels(labels, classes),
        numbers,
        frame.iloc[numbers],
        columns,
        label,
        int((~kept).sum()),
        fingerprint(texts, labels),
    )


def find_training(config: EvaluateConfig, run: RunFile, rows: Rows) -> Training | None:
    """The texts that the run was trained on, where they can be had.

    They are those of --train; else those of DATA, if that is the table that the run was made from,
    by its fingerprint; else of that table, if it lies where it lay. Of the run's own table the rows
    that it held out do not belong to them.

    Raises:
        UserError: --train cannot be read.
    """
    if config.train is not None:
        texts = read_table(config.train, rows.columns, None).texts
        own = _own_table(config.train, run)
        return Training(config.train, texts) if own is None else own
    if rows.fingerprint == run.data.get("fingerprint"):
        return _trained(config.data, run, rows.texts, rows.labels)
    source = run.data.get("source")
    if source == SAMPLE or (isinstance(source, str) and os.path.isfile(source)):
        return _own_table(source, run)
    return None


def seen_in(training: Training, texts: Sequence[str]) -> np.ndarray:
    """[N] bool, whether a text was trained on; case, punctuation and spaces tell none apart."""
    known = {normalise(text) for text in training.texts}
    return np.array([normalise(text) in known for text in texts], bool)


def _own_table(data: str, run: RunFile) -> Training | None:
    """What was trained on of a table, if it is the one that the run was made from."""
    if run.label is None:
        return None
    try:
        table = read_table(data, run.text, run.label)
    except UserError:  # it has other columns, or is another one by now
        return None
    if table.labels is None or table.fingerprint != run.data.get("fingerprint"):
        return None
    return _trained(data, run, table.texts, table.labels)


def _trained(
    data: str, run: RunFile, texts: Sequence[str], labels: Sequence[str]
) -> Training | None:
    """The training part of the run's own table; None if it was split in another way."""
    try:
        sizes = [float(run.settings[name]) for name in ("test_size", "validation_size")]
        part = split_parts(labels, sizes[0], sizes[1], int(run.settings["seed"])).train
    except (KeyError, TypeError, ValueError, UserError):
        return None
    if len(part) != run.data.get("train_rows"):
        return None
    return Training(data, [texts[int(i)] for i in part])
