"""Which texts a training step takes, and which row each text shares with others.

XLA compiles a step per shape, and padding costs as much as text. So the texts of a step are packed
into R rows of T tokens, with at most S texts in a row; R, T and S are the same for every step of
every epoch.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bertjax.errors import UserError

VERSION = 1  # of the order and packing of rows: a run of another version is not gone on from

ROW_LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
LONG_ROW_LENGTHS = (768, 1024)  # where attention is local
_TILE = 8  # tokens, to a multiple of which the longest text is rounded up
_LOCAL_TILE = 64  # the same where attention is local: kernels take as many at a time


@dataclass(frozen=True)
class Plan:
    """The shape [R, T] of every step of a training, S texts in a row at most, and its steps."""

    row_length: int  # T
    rows: int  # R
    max_segments: int  # S
    batch_size: int  # the most texts a step takes
    texts: int  # an epoch
    tokens: int  # an epoch, padding not counted
    steps: int  # an epoch

    @property
    def fill(self) -> float:
        """Share of the slots that hold a token."""
        return self.tokens / (self.steps * self.rows * self.row_length)

    def cost(self, hidden_size: int, local_attention: bool = False) -> float:
        """What a step costs, in slots: tokens of rows so short that attention costs nothing.

        Args:
            hidden_size, local_attention: as of `plan_packing`.
        """
        if local_attention:
            return self.rows * self.row_length
        return self.rows * row_cost(self.row_length, hidden_size)

    def __str__(self) -> str:
        return (
            f"{self.texts} texts in {self.steps} steps of {self.rows} x {self.row_length} tokens "
            f"({self.fill:.0%} filled, at most {self.batch_size} texts a step "
            f"and {self.max_segments} a row)"
        )


class Need(NamedTuple):
    """What the step that needs the most needs, in rows of one length."""

    rows: int
    segments: int  # texts a row


Needs = dict[int, Need]  # by row length


def row_cost(row_length: int, hidden_size: int) -> float:
    """What a row of T tokens costs, in slots.

    Products with weights grow with T, attention with T x T. By arithmetic, attention weighs as
    much as the rest where T is 6 times the width. On CPUs it was seen to do so at 1.5 to 2.1 times,
    trained or not: scores also go through memory.
    """
    return row_length * (1 + row_length / (1.75 * hidden_size))


def plan_packing(
    lengths: Sequence[int] | np.ndarray,
    batch_size: int,
    seed: int,
    epochs: int,
    hidden_size: int,
    row_multiple: int = 1,
    longest: int = 0,
    local_attention: bool = False,
) -> Plan:
    """The cheapest shape that holds every step of `epochs` epochs.

    Args:
      lengths: tokens of each text [N].
      batch_size: the most texts a step takes.
      seed: the one that the batches will be made with.
      epochs: how many will be trained.
      hidden_size: width of the model; the wider, the less attention weighs in the cost.
      row_multiple: rows are a multiple of it: the number of devices that share them.
      longest: tokens of the longest text outside `lengths` (held-out rows) that must fit too.
      local_attention: whether attention passes over what other texts of a row hold, so that it
        costs hardly more in longer rows, which have fewer gaps.

    Raises:
      UserError: `batch_size` or `epochs` is below 1.
    """
    if batch_size < 1 or epochs < 1:
        raise UserError(
            f"batch size and epochs must be at least 1, found {batch_size} and {epochs}"
        )
    lengths = np.asarray(lengths)
    row_lengths = candidate_row_lengths(max(longest, int(lengths.max())), local_attention)
    needs = [
        steps_need(lengths, epoch_order(lengths, batch_size, seed, epoch), row_lengths)
        for epoch in range(epochs)
    ]
    return cheapest_plan(
        most_needed(needs),
        texts=len(lengths),
        tokens=int(lengths.sum()),
        steps=_round_up(len(lengths), batch_size) // batch_size,
        batch_size=batch_size,
        hidden_size=hidden_size,
        row_multiple=row_multiple,
        local_attention=local_attention,
    )


def candidate_row_lengths(longest: int, local_attention: bool = False) -> tuple[int, ...]:
    """The row lengths among which a plan chooses, where the longest text has so many tokens.

    The first is hardly longer than that text: attention costs least, and few texts leave gaps.
    Where attention is local, longer rows are fuller and cost no more.
    """
    tile = _LOCAL_TILE if local_attention else _TILE
    shortest = max(_round_up(longest, tile), ROW_LENGTHS[0])
    lengths = ROW_LENGTHS + LONG_ROW_LENGTHS if local_attention else ROW_LENGTHS
    longer = (length for length in lengths if length > shortest and length % tile == 0)
    return (shortest, *longer)


def steps_need(
    lengths: np.ndarray, steps: Sequence[np.ndarray], row_lengths: Sequence[int]
) -> Needs:
    """What the steps need, at the most, with rows of each length.

    Args:
      lengths: tokens of each text [N].
      steps: the texts of each step, int [n]; in all at least one.
      row_lengths: T of the rows to choose among.

    Raises:
      ValueError: a text has more tokens than a row.
    """
    needs = {}
    for row_length in row_lengths:
        packed = [pack_rows(lengths[texts], row_length) for texts in steps]
        needs[row_length] = Need(
            rows=max(len(rows) for rows in packed),
            segments=max(len(row) for rows in packed for row in rows),
        )
    return needs


def most_needed(needs: Sequence[Needs]) -> Needs:
    """What steps need at the most, from what groups of them need."""
    return {
        row_length: Need(*map(max, zip(*(need[row_length] for need in needs), strict=True)))
        for row_length in needs[0]
    }


def cheapest_plan(
    needs: Needs,
    *,
    texts: int,
    tokens: int,
    steps: int,
    batch_size: int,
    hidden_size: int,
    row_multiple: int = 1,
    local_attention: bool = False,
) -> Plan:
    """The plan of the row length that costs least; arguments as of `Plan` and `plan_packing`."""
    plans = [
        Plan(
            row_length=row_length,
            rows=_round_up(need.rows, row_multiple),
            max_segments=need.segments,
            batch_size=batch_size,
            texts=texts,
            tokens=tokens,
            steps=steps,
        )
        for row_length, need in needs.items()
    ]
    return min(plans, key=lambda plan: plan.cost(hidden_size, local_attention))


def epoch_order(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """The texts of each step: all of them once, in steps that cost about the same.

    The texts are sorted by length (ties at random) and cut into strata of as many texts as there
    are steps; each step gets one text of every stratum. The stratum of the shortest texts may be
    incomplete, so the sizes of steps differ by at most one. Depends on (seed, epoch) alone.
    """
    lengths = np.asarray(lengths)
    count = len(lengths)
    steps = _round_up(count, batch_size) // batch_size
    if not steps:
        return []
    rng = np.random.default_rng((seed, epoch))
    longest_first = np.lexsort((rng.random(count), -lengths))
    strata = np.full(_round_up(count, steps), -1)
    strata[:count] = longest_first
    strata = rng.permuted(strata.reshape(-1, steps), axis=1)  # [strata, steps]
    return [texts[texts >= 0] for texts in strata.T]


def pack_rows(
    lengths: Sequence[int] | np.ndarray, row_length: int, max_segments: int | None = None
) -> list[list[int]]:
    """Best-fit decreasing: the texts of each row, where rows hold `row_length` tokens.

    Each text, longest first, goes into the fullest row that still has room for it.

    Args:
      lengths: tokens of each text [N].
      row_length: T.
      max_segments: S, the most texts in a row; None: as many as fit.

    Raises:
      ValueError: a text has more tokens than a row.
    """
    lengths = np.asarray(lengths)
    if lengths.size and lengths.max() > row_length:
        raise ValueError(f"a text of {lengths.max()} tokens exceeds the row length {row_length}")
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row_length + 1)]  # rows by their free tokens
    rooms: list[int] = []  # ascending; those of which with_room has a row
    order = np.argsort(-lengths, kind="stable")
    for text, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        at = bisect_left(rooms, length)
        if at < len(rooms):
            room = rooms[at]
            row = with_room[room].pop()
            if not with_room[room]:
                del rooms[at]
        else:
            room, row = row_length, len(rows)
            rows.append([])
        rows[row].append(text)
        room -= length
        if room and len(rows[row]) != max_segments:
            if not with_room[room]:
                insort(rooms, room)
            with_room[room].append(row)
    return rows


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
