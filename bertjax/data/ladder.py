"""Inference batches: few shapes, so that each can be compiled before the first request.

A batch is padded in both axes up to a rung: in tokens of a ladder that is fitted to the lengths of
texts like those to come, or that knows none; in texts of `BATCHES`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from bertjax.data.batches import Batch
from bertjax.data.packing import row_cost

LENGTHS = (16, 32, 64, 128, 256, 512)  # tokens
STEP = 8  # tokens between the rungs that a fitted ladder may have
BATCHES = (1, 4, 16, 64)  # texts
TOKEN_BUDGET = 4096  # the most slots of a batch, save that one text always fits


def ladder_lengths(max_length: int, rungs: Sequence[int] = LENGTHS) -> tuple[int, ...]:
    """The rungs below `max_length`, and `max_length` itself."""
    return (*(length for length in rungs if length < max_length), max_length)


def fit_ladder(
    lengths: Sequence[int] | np.ndarray, max_length: int, hidden_size: int, most: int = len(LENGTHS)
) -> tuple[int, ...]:
    """The rungs, at most so many, on which texts of these lengths cost least, each alone.

    Args:
      lengths: tokens of each text [N], none above `max_length`.
      max_length: the last rung, for longer texts to come.
      hidden_size: width of the model; the wider, the less attention weighs in the cost.
    """
    rungs = np.array([0, *range(STEP, max_length, STEP), max_length])
    texts = np.searchsorted(np.sort(lengths), rungs, side="right")  # not above each rung
    # From rung to rung [start, end]: the cost of the texts between them, on the upper one.
    costs = (texts - texts[:, None]) * [row_cost(rung, hidden_size) for rung in rungs.tolist()]
    costs = np.where(np.tri(len(rungs), dtype=bool), np.inf, costs)  # only upwards
    paid = np.array([0.0] + [np.inf] * (len(rungs) - 1))  # up to each rung
    ladders: list[tuple[int, ...]] = [()] * len(rungs)
    for _ in range(most):
        totals = paid[:, None] + costs
        starts, lowest = totals.argmin(axis=0), totals.min(axis=0)
        for end in np.flatnonzero(lowest < paid)[::-1]:  # where equal, fewer rungs
            ladders[end] = (*ladders[starts[end]], int(rungs[end]))
        paid = np.minimum(paid, lowest)
    return ladders[-1]


def ladder_shapes(rungs: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[tuple[int, int]]:
    """Every shape (B, T) that `ladder_batches` can yield: what to compile beforehand."""
    return [(batch, length) for length in rungs for batch in _batch_rungs(length, token_budget)]


def ladder_batches(
    token_ids: Sequence[np.ndarray],
    rungs: Sequence[int],
    token_budget: int = TOKEN_BUDGET,
    pad_token_id: int = 0,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every text once, in batches of texts of similar length.

    Args:
      token_ids: arrays [T_n], none longer than the last rung.
      rungs: lengths in tokens, ascending.
      token_budget: the most slots B x T of a batch of more than one text.
      pad_token_id: fills the slots without a token.

    Yields:
      (texts [n], batch): the indices of the texts in the first n of the B rows, and
      input_ids [B, T] and attention_mask [B, T], both int32.
    """
    lengths = np.array([len(ids) for ids in token_ids], np.int64)
    if lengths.size and lengths.max() > rungs[-1]:
        raise ValueError(f"a text of {lengths.max()} tokens exceeds the last rung, {rungs[-1]}")
    order = np.argsort(lengths, kind="stable")
    for length, group in groupby(order, key=lambda text: rungs[bisect_left(rungs, lengths[text])]):
        texts = np.array(list(group))
        while len(texts):
            taken, size = _next_batch(len(texts), _batch_rungs(length, token_budget))
            part, texts = texts[:taken], texts[taken:]
            yield part, _pad([token_ids[text] for text in part], (size, length), pad_token_id)


def _batch_rungs(length: int, token_budget: int) -> list[int]:
    return [size for size in BATCHES if size == 1 or size * length <= token_budget]


def _next_batch(left: int, rungs: list[int]) -> tuple[int, int]:
    """(texts to take, rung): the next rung where they fill half of it, else a full one below."""
    if left >= rungs[-1]:
        return rungs[-1], rungs[-1]
    above = bisect_left(rungs, left)
    if 2 * left >= rungs[above]:
        return left, rungs[above]
    return rungs[above - 1], rungs[above - 1]


def _pad(token_ids: list[np.ndarray], shape: tuple[int, int], pad_token_id: int) -> Batch:
    input_ids = np.full(shape, pad_token_id, np.int32)
    attention_mask = np.zeros(shape, np.int32)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
