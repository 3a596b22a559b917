"""Inference batches: few shapes, so that each can be compiled before the first request.

A batch is padded in both axes up to a rung: of `LENGTHS` in tokens, of `BATCHES` in texts.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from bertjax.data.batches import Batch

LENGTHS = (16, 32, 64, 128, 256, 512)  # tokens
BATCHES = (1, 4, 16, 64)  # texts
TOKEN_BUDGET = 4096  # the most slots of a batch, save that one text always fits


def ladder_lengths(max_length: int) -> tuple[int, ...]:
    """The rungs below `max_length`, and `max_length` itself."""
    return (*(length for length in LENGTHS if length < max_length), max_length)


def ladder_shapes(max_length: int, token_budget: int = TOKEN_BUDGET) -> list[tuple[int, int]]:
    """Every shape (B, T) that `ladder_batches` can yield: what to compile beforehand."""
    return [
        (batch, length)
        for length in ladder_lengths(max_length)
        for batch in _batch_rungs(length, token_budget)
    ]


def ladder_batches(
    token_ids: Sequence[np.ndarray],
    max_length: int,
    token_budget: int = TOKEN_BUDGET,
    pad_token_id: int = 0,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every text once, in batches of texts of similar length.

    Args:
      token_ids: arrays [T_n], none longer than `max_length`.
      max_length: the last rung.
      token_budget: the most slots B x T of a batch of more than one text.
      pad_token_id: fills the slots without a token.

    Yields:
      (texts [n], batch): the indices of the texts in the first n of the B rows, and
      input_ids [B, T] and attention_mask [B, T], both int32.
    """
    lengths = np.array([len(ids) for ids in token_ids], np.int64)
    if lengths.size and lengths.max() > max_length:
        raise ValueError(f"a text of {lengths.max()} tokens exceeds the maximum of {max_length}")
    rungs = ladder_lengths(max_length)
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
