"""The first half of a fine-tuning: from DATA to rows that are split, encoded and tokenized."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertjax.data.cleaning import clean_texts
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.sources import Table, read_table
from bertjax.data.splits import check_shares, split_parts
from bertjax.data.tokens import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class LabelledTable:
    """A table with a label in every row, and which rows serve for what."""

    table: Table
    labels: list[str]  # [N]
    classes: tuple[str, ...]
    train: np.ndarray  # indices of rows
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class TokenizedRows:
    """Rows as the model reads them."""

    ids: list[np.ndarray]  # N arrays [T_n] int32
    labels: np.ndarray  # [N] int32
    truncated: int  # rows that were longer than the model reads
    probabilities: np.ndarray | None = None  # [N, C] float32, of soft labels

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self.ids], np.int64)

    @property
    def targets(self) -> np.ndarray:
        """What is trained on: probabilities [N, C] if there are any, else labels [N]."""
        return self.labels if self.probabilities is None else self.probabilities

    def class_counts(self, classes: int) -> np.ndarray:
        """Rows of each class [C]; of soft labels, the sum of its probabilities."""
        if self.probabilities is None:
            return np.bincount(self.labels, minlength=classes)
        return self.probabilities.sum(axis=0, dtype=np.float64)


def read_labelled(
    data: str,
    text: Sequence[str],
    label: str,
    test_size: float,
    validation_size: float,
    seed: int,
    soft: bool = False,
) -> LabelledTable:
    """Read a table and split it by class: test rows first, validation rows from what is left.

    Args:
        test_size, validation_size: shares of all rows; 0: no such rows.
        soft: whether to read the probabilities of the label as well. All classes that have a column
            are classes then.

    Raises:
        UserError: see `read_table`, `classes_of` and `split_parts`.
    """
    check_shares(test_size, validation_size)
    table = read_table(data, text, label, soft)
    labels = table.labels or []
    classes = classes_of(labels)
    if table.soft:
        classes = table.soft.classes
    parts = split_parts(labels, test_size, validation_size, seed)
    return LabelledTable(table, labels, classes, *parts)


def tokenize_rows(
    labelled: LabelledTable,
    rows: np.ndarray,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    clean: bool,
) -> TokenizedRows:
    """The rows of these indices, cleaned first if `clean`."""
    texts = [labelled.table.texts[i] for i in rows]
    tokens = tokenize(tokenizer, clean_texts(texts) if clean else texts, max_length)
    labels = encode_labels([labelled.labels[i] for i in rows], labelled.classes)
    soft = labelled.table.soft
    probabilities = None if soft is None else soft.probabilities[rows]
    return TokenizedRows(tokens.ids, labels, int(tokens.truncated.sum()), probabilities)


def describe(labelled: LabelledTable, train: TokenizedRows, source: str) -> dict[str, Any]:
    """The facts on the data that a run folder keeps."""
    counts = {name: labelled.labels.count(name) for name in labelled.classes}
    soft = labelled.table.soft
    return {
        "source": source,
        "fingerprint": labelled.table.fingerprint,
        **({"soft_fingerprint": soft.fingerprint} if soft else {}),
        "rows": len(labelled.labels),
        "dropped_without_label": labelled.table.dropped,
        "train_rows": len(labelled.train),
        "validation_rows": len(labelled.validation),
        "test_rows": len(labelled.test),
        "classes": counts,
        "train_tokens": int(train.lengths.sum()),
        "train_truncated": train.truncated,
    }
