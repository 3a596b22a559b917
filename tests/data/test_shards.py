from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data import shards as module
from bertjax.data.batches import WHOLE, Share, packed_batches
from bertjax.data.packing import cheapest_plan, most_needed, plan_packing
from bertjax.data.shards import (
    GROUP,
    Piece,
    Rows,
    Shard,
    read_lengths,
    read_rows,
    sharded_batches,
    steps_of_epoch,
    window_needs,
    windows_in_order,
    windows_of_epoch,
    write_shard,
)

SEED = 3


def make_rows(count: int, first: int = 0) -> Rows:
    """Rows that begin with their number, of 1 to 9 tokens."""
    ids = [np.arange(i, i + 1 + i % 9, dtype=np.int32) for i in range(first, first + count)]
    return Rows(ids, np.arange(first, first + count, dtype=np.int32))


def numbers_of(pieces: list[Piece]) -> list[int]:
    return [i for first, rows in pieces for i in range(first, first + rows)]


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(module, "GROUP", 8)


@pytest.fixture
def shards(tmp_path, small_groups) -> list[Shard]:
    """100 rows in files of 30, 1, 50 and 19."""
    found, first = [], 0
    for i, count in enumerate((30, 1, 50, 19)):
        found.append(write_shard(str(tmp_path / f"{i}.parquet"), make_rows(count, first)))
        first += count
    return found


@pytest.mark.parametrize(
    "pieces", [[Piece(0, 100)], [Piece(29, 3)], [Piece(7, 2), Piece(95, 5), Piece(40, 33)]]
)
def test_pieces_are_read_from_whatever_files_they_lie_in(shards, pieces):
    rows = read_rows(shards, pieces)
    expected = numbers_of(pieces)
    assert rows.labels.tolist() == expected
    assert [ids[0] for ids in rows.ids] == expected
    lengths = [1 + i % 9 for i in expected]
    assert [len(ids) for ids in rows.ids] == lengths
    assert read_lengths(shards, pieces).tolist() == lengths


def test_no_piece_has_no_rows(shards):
    rows = read_rows(shards, [])
    assert rows.ids == []
    assert rows.labels.shape == read_lengths(shards, []).shape == (0,)


def test_a_shard_without_rows_can_be_written_and_read(tmp_path):
    shard = write_shard(str(tmp_path / "none.parquet"), Rows([], np.zeros(0, np.int32)))
    assert shard.rows == 0
    assert windows_in_order([shard]) == []


def test_only_the_groups_that_are_asked_for_are_read(shards, monkeypatch):
    import pyarrow.parquet as pq

    read = []
    whole = pq.ParquetFile.read_row_groups

    def watched(self, groups, *rest, **kwargs):
        read.append(groups)
        return whole(self, groups, *rest, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    read_rows(shards, [Piece(31 + 8, 9)])  # of the third file, its second and third groups
    assert read == [[1, 2]]


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    window=st.integers(1, 60),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_each_row_once_in_windows_of_constant_sizes(counts, window, epoch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP", 8)
        shards = [Shard(str(i), count) for i, count in enumerate(counts)]
        windows = windows_of_epoch(shards, SEED, epoch, window)
    taken = [
        [i for first, rows in pieces for i in range(first, first + rows)] for pieces in windows
    ]
    assert sorted(i for rows in taken for i in rows) == list(range(sum(counts)))
    assert all(rows == sorted(rows) for rows in taken)
    whole, rest = divmod(sum(counts), window)
    assert [len(rows) for rows in taken] == [window] * whole + [rest] * (rest > 0)


def test_windows_differ_from_epoch_to_epoch_and_follow_from_the_seed(shards):
    first = windows_of_epoch(shards, SEED, 0, window=40)
    assert windows_of_epoch(shards, SEED, 0, window=40) == first
    assert windows_of_epoch(shards, SEED, 1, window=40) != first
    assert windows_of_epoch(shards, SEED + 1, 0, window=40) != first


def test_a_window_mixes_places_far_apart(shards):
    pieces = windows_of_epoch(shards, SEED, 0, window=40)[0]
    assert max(first for first, _ in pieces) - min(first for first, _ in pieces) > 40


@given(rows=st.integers(0, 50), count=st.integers(1, 5), window=st.integers(1, 20))
def test_shares_of_the_order_make_the_whole(rows, count, window):
    shards = [Shard("a", rows)]
    pieces = [
        piece for i in range(count) for piece in windows_in_order(shards, Share(i, count), window)
    ]
    assert numbers_of(pieces) == list(range(rows))
    assert all(0 < piece.rows <= window for piece in pieces)


def plan_of(shards, window, epochs=2, batch_size=10):
    needs = [
        window_needs(shards, pieces, batch_size, SEED, epoch, (32, 64))
        for epoch in range(epochs)
        for pieces in windows_of_epoch(shards, SEED, epoch, window)
    ]
    return cheapest_plan(
        most_needed(needs),
        texts=100,
        tokens=1,
        steps=steps_of_epoch(100, batch_size, window),
        batch_size=batch_size,
        hidden_size=64,
    )


def equal(batch, other) -> bool:
    return batch.keys() == other.keys() and all((batch[k] == other[k]).all() for k in batch)


def test_a_table_of_one_window_gives_the_batches_that_it_gives_in_memory(shards):
    rows = make_rows(100)
    plan = plan_packing([len(ids) for ids in rows.ids], 10, SEED, 2, hidden_size=64)
    assert plan_of(shards, 1000).row_length == plan.row_length == 32
    for epoch in range(2):
        here = list(packed_batches(rows.ids, rows.labels, plan, SEED, epoch))
        there = list(sharded_batches(shards, plan, SEED, epoch))
        assert len(here) == len(there) == plan.steps == steps_of_epoch(100, 10)
        assert all(map(equal, here, there))


def test_a_longer_table_is_trained_on_window_by_window(shards):
    plan = plan_of(shards, 40)
    for epoch in range(2):
        batches = list(sharded_batches(shards, plan, SEED, epoch, window=40))
        assert len(batches) == steps_of_epoch(100, 10, 40) == 4 + 4 + 2
        labels = [batch["labels"][batch["weights"] == 1] for batch in batches]
        assert sorted(np.concatenate(labels)) == list(range(100))


@pytest.mark.parametrize("window", [40, 1000])
def test_shares_of_a_batch_make_the_batch(shards, window):
    plan = plan_of(shards, window)
    count = 3
    assert plan.rows % count != 0
    wide = replace(plan, rows=plan.rows + count - plan.rows % count)
    parts = [
        list(sharded_batches(shards, wide, SEED, 0, share=Share(i, count), window=window))
        for i in range(count)
    ]
    for whole, *shares in zip(
        sharded_batches(shards, wide, SEED, 0, share=WHOLE, window=window), *parts, strict=True
    ):
        joined = {name: np.concatenate([share[name] for share in shares]) for name in whole}
        assert equal(whole, joined)


def test_rows_that_no_share_divides_are_refused():
    with pytest.raises(ValueError, match="10 rows are no multiple of 4"):
        Share(0, 4).of(10)


def test_a_group_is_small_beside_a_window():
    assert module.WINDOW % GROUP == 0
