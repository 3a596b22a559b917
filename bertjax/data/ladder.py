"""Lengths in tokens to which single texts are padded: few, so that each can be compiled beforehand.

A ladder is fitted to the lengths of texts like those to come, or knows none.
"""

from collections.abc import Sequence

import numpy as np

from bertjax.data.packing import row_cost

LENGTHS = (16, 32, 64, 128, 256, 512)  # tokens
STEP = 8  # tokens between the rungs that a fitted ladder may have


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
