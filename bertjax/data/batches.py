"""Packed rows as arrays: every batch of a run has one shape.

R rows, T tokens a row, S the most texts in a row, N texts, C classes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bertjax.data.packing import Plan, epoch_order, pack_rows

Batch = dict[str, np.ndarray]


class Share(NamedTuple):
    """The `index`-th of `count` equal parts."""

    index: int
    count: int

    def of(self, rows: int) -> slice:
        """Where the part lies among so many rows, a multiple of `count`.

        Raises:
          ValueError: they are no multiple of it.
        """
        if rows % self.count:
            raise ValueError(f"{rows} rows are no multiple of {self.count}")
        size = rows // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE = Share(0, 1)


def packed_batches(
    token_ids: Sequence[np.ndarray],
    labels: np.ndarray | None,
    plan: Plan,
    seed: int,
    epoch: int,
    pad_token_id: int = 0,
    share: Share = WHOLE,
) -> Iterator[Batch]:
    """The training batches of one epoch, one a step; all have the shapes of `plan`.

    Args:
      token_ids: N arrays [T_n].
      labels: [N] or [N, C]; None gives zeros.
      plan: made from the lengths of `token_ids` with the same seed and at least `epoch` + 1 epochs.
      seed, epoch: decide which texts each step takes.
      pad_token_id: fills the slots without a token.
      share: of the rows of each batch, for a process that trains on no others.

    Yields:
      input_ids    [R, T] int32
      segment_ids  [R, T] int32: 0 padding, n the n-th text of the row
      labels       [R, S] int32 (or [R, S, C], in the type given): 0 where there is no text
      weights      [R, S] float32: 1 where there is a text, else 0
      rows_of      [R, S] int32: the index of the text, -1 where there is none

    Raises:
      ValueError: a step does not fit the plan, or the rows are no multiple of `share.count`.
    """
    lengths = _lengths(token_ids)
    for texts in epoch_order(lengths, plan.batch_size, seed, epoch):
        rows = [texts[row] for row in pack_rows(lengths[texts], plan.row_length)]
        yield _fill(rows, token_ids, labels, plan, pad_token_id, share)


def packed_in_order(
    token_ids: Sequence[np.ndarray],
    labels: np.ndarray | None,
    plan: Plan,
    pad_token_id: int = 0,
) -> Iterator[Batch]:
    """Batches for evaluation: as `packed_batches`, but unshuffled and in as few as will hold all.

    Every text comes once, in the order of packing: `rows_of` says which is where. The texts need
    not be those of the plan, but none may be longer than its rows.

    Raises:
      ValueError: a text is longer than the rows.
    """
    rows = pack_rows(_lengths(token_ids), plan.row_length, plan.max_segments)
    for start in range(0, len(rows), plan.rows):
        part = [np.array(row) for row in rows[start : start + plan.rows]]
        yield _fill(part, token_ids, labels, plan, pad_token_id)


def place(
    rows: Sequence[Sequence[int]] | Sequence[np.ndarray],
    token_ids: Sequence[np.ndarray],
    shape: tuple[int, int],
    max_segments: int,
    pad_token_id: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The texts of each row side by side: (input_ids [R, T], segment_ids [R, T], rows_of [R, S]).

    They mean what they do in `packed_batches`; rows that are not given are empty.
    """
    input_ids = np.full(shape, pad_token_id, np.int32)
    segment_ids = np.zeros_like(input_ids)
    rows_of = np.full((shape[0], max_segments), -1, np.int32)
    for row, texts in enumerate(rows):
        ids = [token_ids[text] for text in texts]
        end = sum(map(len, ids))
        input_ids[row, :end] = np.concatenate(ids)
        segment_ids[row, :end] = np.repeat(np.arange(1, len(ids) + 1), [len(text) for text in ids])
        rows_of[row, : len(texts)] = texts
    return input_ids, segment_ids, rows_of


def unpack(batch_values: np.ndarray, rows_of: np.ndarray, values: np.ndarray) -> None:
    """Write what was computed of each text of a batch where the texts stand.

    Args:
      batch_values: of the batch [R, S, C] (or, a text a row, [R, C]).
      rows_of: its texts [R, S] (or [R]), -1 where there is none.
      values: of all texts [N, C]; changed.
    """
    present = rows_of >= 0
    values[rows_of[present]] = batch_values[present]


def _fill(
    rows: list[np.ndarray],
    token_ids: Sequence[np.ndarray],
    labels: np.ndarray | None,
    plan: Plan,
    pad_token_id: int,
    share: Share = WHOLE,
) -> Batch:
    """Writes the texts of each row, side by side, into arrays of the plan's shape."""
    if len(rows) > plan.rows or max(map(len, rows)) > plan.max_segments:
        raise ValueError(f"a step does not fit the plan ({plan}): other lengths, seed or epochs?")
    labels = np.zeros(len(token_ids), np.int32) if labels is None else np.asarray(labels)
    if labels.dtype == np.int64:
        labels = labels.astype(np.int32)
    rows = rows[share.of(plan.rows)]
    shape = (plan.rows // share.count, plan.row_length)
    input_ids, segment_ids, rows_of = place(rows, token_ids, shape, plan.max_segments, pad_token_id)
    present = rows_of >= 0
    packed_labels = np.zeros((*rows_of.shape, *labels.shape[1:]), labels.dtype)
    packed_labels[present] = labels[rows_of[present]]
    return {
        "input_ids": input_ids,
        "segment_ids": segment_ids,
        "labels": packed_labels,
        "weights": present.astype(np.float32),
        "rows_of": rows_of,
    }


def _lengths(token_ids: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(ids) for ids in token_ids], np.int64)
