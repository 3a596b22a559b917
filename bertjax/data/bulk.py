"""Inference on many texts: packed rows of a few shapes, chosen from the lengths of the texts.

Packed, nearly every slot holds a token, and one shape may do for all; padded batches need a shape a
length, each of which is compiled. R rows of T tokens hold at most S texts each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bertjax.data.packing import Plan, candidate_row_lengths, pack_rows

ROW_LENGTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512)
SLOTS = 2048  # R x T of a batch: enough for a CPU's full speed, and no more memory than needed
SHAPE_BATCHES = 8  # that take as long as compiling a further shape: on CPUs 4 to 14
_SHORTEST = 8  # tokens that a text has on average, at the least: bounds S


@dataclass(frozen=True)
class Group:
    """Texts that share the rows of one shape."""

    texts: np.ndarray  # [N] indices
    plan: Plan


class _Choice(NamedTuple):
    """Groups for the texts up to some length."""

    cost: float  # in slots of a row that attention costs nothing for
    groups: list[Group]


def plan_bulk(
    lengths: Sequence[int] | np.ndarray, hidden_size: int, slots: int = SLOTS
) -> list[Group]:
    """The groups that cost least in all; each text is in the one of the shortest rows that fit it.

    Args:
      lengths: tokens of each text [N], N > 0.
      hidden_size: width of the model; the wider, the less attention weighs in the cost.
      slots: R x T of a batch, about.
    """
    lengths = np.asarray(lengths)
    longest = int(lengths.max())
    row_lengths = sorted({*ROW_LENGTHS, candidate_row_lengths(longest)[0]})
    best = {0: _Choice(0.0, [])}
    for end in row_lengths:
        best[end] = min(
            (_extended(best[start], lengths, start, end, hidden_size, slots) for start in best),
            key=lambda choice: choice.cost,
        )
    return min((best[end] for end in row_lengths if end >= longest), key=lambda c: c.cost).groups


def _extended(
    before: _Choice, lengths: np.ndarray, start: int, end: int, hidden_size: int, slots: int
) -> _Choice:
    """`before`, which ends at `start`, and the texts above `start` tokens in rows of `end`."""
    texts = np.flatnonzero((lengths > start) & (lengths <= end))
    if not len(texts):
        return before
    group = _group(lengths, texts, end, slots)
    cost = group.plan.steps * group.plan.cost(hidden_size) + SHAPE_BATCHES * slots
    return _Choice(before.cost + cost, [*before.groups, group])


def _group(lengths: np.ndarray, texts: np.ndarray, row_length: int, slots: int) -> Group:
    rows, most = max(slots // row_length, 1), max(row_length // _SHORTEST, 1)
    counts = [len(row) for row in pack_rows(lengths[texts], row_length, most)]
    plan = Plan(
        row_length=row_length,
        rows=rows,
        max_segments=most,
        batch_size=max(sum(counts[i : i + rows]) for i in range(0, len(counts), rows)),
        texts=len(texts),
        tokens=int(lengths[texts].sum()),
        steps=-(-len(counts) // rows),
    )
    return Group(texts, plan)
