"""Tokenized rows in files, for tables that no process holds whole.

A shard is a Parquet file of rows in their order, in groups of `GROUP` that are read alone. An epoch
takes the rows in windows of `WINDOW`, each made of groups from anywhere in the table, and packs a
window as `packed_batches` packs a table. So memory is that of a window however long the table, the
batches follow from the seed alone, and a table of one window gives those that it gives in memory.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from bertjax.data.batches import WHOLE, Batch, Share, packed_batches
from bertjax.data.packing import Needs, Plan, epoch_order, steps_need
from bertjax.data.storage import locate

GROUP = 1024  # rows
WINDOW = 32 * GROUP  # rows


class Rows(NamedTuple):
    """Rows in memory."""

    ids: list[np.ndarray]  # N arrays [T_n] int32
    labels: np.ndarray  # [N] int32


@dataclass(frozen=True)
class Shard:
    """A file of rows, as `write_shard` wrote it."""

    path: str  # also an address such as s3://bucket/name
    rows: int


Shards = Sequence[Shard]


class Piece(NamedTuple):
    """Rows of a table that lie together in a group."""

    first: int  # of the table, counted over all shards
    rows: int


def write_shard(path: str, rows: Rows) -> Shard:
    """Write rows, with their lengths in a column of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lengths = [len(ids) for ids in rows.ids]
    values = np.concatenate([*rows.ids, np.zeros(0, np.int32)])
    ids = pa.ListArray.from_arrays(np.cumsum([0, *lengths], dtype=np.int32), values)
    columns = {"ids": ids, "lengths": pa.array(lengths, pa.int32()), "labels": rows.labels}
    filesystem, place = locate(path)
    pq.write_table(
        pa.table(columns), place, row_group_size=GROUP, compression="zstd", filesystem=filesystem
    )
    return Shard(path, len(lengths))


def read_rows(shards: Shards, pieces: Sequence[Piece]) -> Rows:
    """The rows of some pieces, in the order of the pieces."""
    ids, labels = [], []
    for table in _read(shards, pieces, ["ids", "labels"]):
        column = table["ids"].combine_chunks()
        ids += np.split(column.flatten().to_numpy(), column.value_lengths().to_numpy().cumsum())[
            : len(column)
        ]
        labels.append(table["labels"].to_numpy())
    return Rows(ids, np.concatenate([*labels, np.zeros(0, np.int32)]))


def read_lengths(shards: Shards, pieces: Sequence[Piece]) -> np.ndarray:
    """Tokens of each row of some pieces [N] int32, which is far less than the tokens."""
    lengths = [table["lengths"].to_numpy() for table in _read(shards, pieces, ["lengths"])]
    return np.concatenate([*lengths, np.zeros(0, np.int32)])


def count_rows(shards: Shards) -> int:
    return sum(shard.rows for shard in shards)


def windows_in_order(shards: Shards, share: Share = WHOLE, window: int = WINDOW) -> list[Piece]:
    """A share of the table in its order, in pieces of at most `window` rows."""
    rows = count_rows(shards)
    start, end = (rows * (share.index + k) // share.count for k in (0, 1))
    return [Piece(at, min(window, end - at)) for at in range(start, end, window)]


def windows_of_epoch(
    shards: Shards, seed: int, epoch: int, window: int = WINDOW
) -> list[list[Piece]]:
    """The rows of an epoch: each once, in windows of the same sizes in every epoch.

    The groups are shuffled and cut into windows; within a window they keep the table's order.
    Depends on (seed, epoch) alone.
    """
    groups = _groups(shards)
    if count_rows(shards) > window:
        order = np.random.default_rng((seed, epoch)).permutation(len(groups))
        groups = [groups[i] for i in order]
    windows: list[list[Piece]] = []
    room = 0
    for first, rows in groups:
        while rows:
            if not room:
                windows.append([])
                room = window
            taken = min(rows, room)
            windows[-1].append(Piece(first, taken))
            first, rows, room = first + taken, rows - taken, room - taken
    return [sorted(pieces) for pieces in windows]


def window_needs(
    shards: Shards,
    pieces: Sequence[Piece],
    batch_size: int,
    seed: int,
    epoch: int,
    row_lengths: Sequence[int],
) -> Needs:
    """What the steps of a window need, as of `plan_packing`."""
    lengths = read_lengths(shards, pieces)
    return steps_need(lengths, epoch_order(lengths, batch_size, seed, epoch), row_lengths)


def steps_of_epoch(rows: int, batch_size: int, window: int = WINDOW) -> int:
    """How many steps the windows of so many rows take."""
    whole, rest = divmod(rows, window)
    return whole * -(-window // batch_size) + -(-rest // batch_size)


def sharded_batches(
    shards: Shards,
    plan: Plan,
    seed: int,
    epoch: int,
    pad_token_id: int = 0,
    share: Share = WHOLE,
    window: int = WINDOW,
) -> Iterator[Batch]:
    """`packed_batches` of the windows of an epoch, one after the other."""
    for pieces in windows_of_epoch(shards, seed, epoch, window):
        rows = read_rows(shards, pieces)
        yield from packed_batches(rows.ids, rows.labels, plan, seed, epoch, pad_token_id, share)


def _groups(shards: Shards) -> list[Piece]:
    groups, first = [], 0
    for shard in shards:
        for at in range(0, shard.rows, GROUP):
            groups.append(Piece(first + at, min(GROUP, shard.rows - at)))
        first += shard.rows
    return groups


def _read(shards: Shards, pieces: Sequence[Piece], columns: list[str]) -> Iterator:
    """A table of some columns for each stretch of a piece that lies in one file."""
    import pyarrow.parquet as pq

    ends = list(accumulate(shard.rows for shard in shards))
    for first, rows in pieces:
        while rows:
            at = bisect_left(ends, first + 1)
            within = first - (ends[at] - shards[at].rows)
            taken = min(rows, ends[at] - first)
            groups = range(within // GROUP, (within + taken - 1) // GROUP + 1)
            filesystem, path = locate(shards[at].path)
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                table = file.read_row_groups(list(groups), columns, use_threads=False)
            yield table.slice(within - groups[0] * GROUP, taken)
            first, rows = first + taken, rows - taken
