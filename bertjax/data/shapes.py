"""Texts of any number and length in rows of a few shapes, so that each can be compiled beforehand.

A shape is R rows of T tokens, in each of which at most `SEGMENTS` texts lie side by side. Single
rows have the lengths of a ladder; several rows, which compute faster by the token, have one of
`ROW_LENGTHS`, of which longer ones take more texts and cost more in attention.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bertjax.data.ladder import ladder_lengths
from bertjax.data.packing import pack_rows, row_cost

SEGMENTS = 8  # S, the most texts in a row
ROW_LENGTHS = (64, 128, 256)  # T of shapes of several rows
CALL_COST = 48  # slots: of a call by itself, in which all weights are read once


class Shape(NamedTuple):
    """The shape of the arrays of a call, [R, T]."""

    rows: int  # R
    row_length: int  # T


class Call(NamedTuple):
    """Texts that are computed together."""

    shape: Shape
    rows: list[list[int]]  # the texts of each row, at most R


def fixed_shapes(ladder: Sequence[int], max_length: int, slots: int) -> list[Shape]:
    """Every shape that `plan_calls` uses.

    Args:
      ladder: tokens of single rows, ascending.
      max_length: of a text, in tokens; one text always fits.
      slots: the most R x T of several rows.
    """
    lengths = sorted({*ladder_lengths(max_length, ladder), *_row_lengths(max_length)})
    several = [
        Shape(rows, length)
        for length in _row_lengths(max_length)
        for rows in (slots // (4 * length), slots // length)
        if rows > 1
    ]
    return [*(Shape(1, length) for length in lengths), *several]


def plan_calls(
    lengths: Sequence[int] | np.ndarray, shapes: Sequence[Shape], hidden_size: int
) -> list[Call]:
    """The calls that cost least in all; every text is in one of them, once.

    Args:
      lengths: tokens of each text [N], none longer than a row of `shapes`.
      shapes: as `fixed_shapes` gives them.
      hidden_size: width of the model; the wider, the less attention weighs in the cost.

    Raises:
      ValueError: a text has more tokens than the longest single row.
    """
    lengths = np.asarray(lengths)
    if not len(lengths):
        return []
    single = tuple(shape.row_length for shape in shapes if shape.rows == 1)
    longest = int(lengths.max())
    if longest > single[-1]:
        raise ValueError(f"a text of {longest} tokens exceeds the longest row, {single[-1]}")
    if len(lengths) == 1:
        return [Call(Shape(1, single[bisect_left(single, longest)]), [[0]])]

    costs = _Costs(tuple(shapes), hidden_size)
    several = {shape.row_length for shape in shapes if shape.rows > 1}
    ends = sorted({*several, single[bisect_left(single, longest)]})
    # Of the texts up to each length: (cost, calls). Those between two lengths share rows.
    best: dict[int, tuple[float, list[Call]]] = {0: (0.0, [])}
    for end in ends:
        best[end] = min((_extended(best, lengths, start, end, costs) for start in best), key=_cost)
    return min((best[end] for end in ends if end >= longest), key=_cost)[1]


def _cost(choice: tuple[float, list[Call]]) -> float:
    return choice[0]


class _Costs(NamedTuple):
    shapes: tuple[Shape, ...]
    hidden_size: int

    def for_rows(self, length: int, tokens: int) -> list[Shape]:
        """Shapes of several rows of a length, and the shortest single row for so many tokens."""
        several = [shape for shape in self.shapes if shape.rows > 1 and shape.row_length == length]
        single = min(s for s in self.shapes if s.rows == 1 and s.row_length >= tokens)
        return [*several, single]

    def of(self, shape: Shape) -> float:
        return CALL_COST + shape.rows * row_cost(shape.row_length, self.hidden_size)


def _extended(
    best: dict[int, tuple[float, list[Call]]],
    lengths: np.ndarray,
    start: int,
    end: int,
    costs: _Costs,
) -> tuple[float, list[Call]]:
    """The choice up to `start`, and the texts above that in rows of `end`."""
    before, calls = best[start]
    texts = np.flatnonzero((lengths > start) & (lengths <= end))
    if not len(texts):
        return before, calls
    packed = pack_rows(lengths[texts], end, SEGMENTS)
    rows = [(int(lengths[texts[row]].sum()), texts[row].tolist()) for row in packed]
    rows.sort(key=lambda row: -row[0])  # the emptiest last, which may be shorter alone
    # Of the rows from each on: (cost, calls).
    tails: list[tuple[float, list[Call]]] = [(0.0, [])]
    for i in reversed(range(len(rows))):
        choices = []
        for shape in costs.for_rows(end, rows[i][0]):
            after, later = tails[-min(shape.rows, len(tails))]
            call = Call(shape, [row for _, row in rows[i : i + shape.rows]])
            choices.append((after + costs.of(shape), [call, *later]))
        tails.append(min(choices, key=_cost))
    cost, added = tails[-1]
    return before + cost, [*calls, *added]


def _row_lengths(max_length: int) -> list[int]:
    return [length for length in ROW_LENGTHS if length <= max_length]
