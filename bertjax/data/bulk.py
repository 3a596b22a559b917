"""Inference on many texts: packed rows of a few shapes, chosen from the lengths of the texts.

Packed, nearly every slot holds a token, and one shape may do for all; padded batches need a shape a
length, each of which is compiled. R rows of T tokens hold at most S texts each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bertjax.data.packing import Plan, pack_rows

ROW_LENGTHS = (32, 64, 128, 256, 512)
SLOTS = 2048  # of a batch, R x T: enough to compute at full speed, and no more memory than needed
SHAPE_COST = 16 * SLOTS  # compiling a further shape takes about as long as so many slots, on a CPU
_SHORTEST = 8  # tokens that a text has on average, at the least: bounds S


@dataclass(frozen=True)
class Group:
    """Texts that share the rows of one shape."""

    texts: np.ndarray  # [N] indices
    plan: Plan


def plan_bulk(lengths: Sequence[int] | np.ndarray, hidden_size: int) -> list[Group]:
    """The groups that cost least in all; each text is in the one of the shortest rows that fit it.

    Args:
      lengths: tokens of each text [N], N > 0.
      hidden_size: width of the model; the wider, the less attention weighs in the cost.
    """
    lengths = np.asarray(lengths)
    longest = int(lengths.max())
    fitting = [length for length in ROW_LENGTHS if length >= longest]
    last = fitting or [longest]
    shorter = [length for length in ROW_LENGTHS if length < longest]
    choices = [
        [*some, end]
        for end in last
        for count in range(len(shorter) + 1)
        for some in combinations(shorter, count)
    ]
    plans = [_groups(lengths, row_lengths) for row_lengths in choices]
    return min(plans, key=lambda groups: _cost(groups, hidden_size))


def _groups(lengths: np.ndarray, row_lengths: Sequence[int]) -> list[Group]:
    rung = np.searchsorted(row_lengths, lengths)
    groups = []
    for number, row_length in enumerate(row_lengths):
        texts = np.flatnonzero(rung == number)
        if not len(texts):
            continue
        rows, most = max(SLOTS // row_length, 1), max(row_length // _SHORTEST, 1)
        packed = len(pack_rows(lengths[texts], row_length, most))
        plan = Plan(
            row_length=row_length,
            rows=rows,
            max_segments=most,
            batch_size=len(texts),
            texts=len(texts),
            tokens=int(lengths[texts].sum()),
            steps=-(-packed // rows),
        )
        groups.append(Group(texts, plan))
    return groups


def _cost(groups: list[Group], hidden_size: int) -> float:
    """In slots of a row that attention costs nothing for."""
    return sum(group.plan.steps * group.plan.cost(hidden_size) + SHAPE_COST for group in groups)
