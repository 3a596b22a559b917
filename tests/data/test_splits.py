import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.splits import split_parts, split_piece, split_rows
from bertjax.errors import UserError

LABELS = ["a"] * 50 + ["b"] * 30 + ["c"] * 20


def test_every_row_is_on_one_side_and_every_class_keeps_its_share():
    rest, held_out = split_rows(LABELS, 0.2, seed=0)
    assert sorted([*rest, *held_out]) == list(range(100))
    assert Counter(LABELS[i] for i in held_out) == {"a": 10, "b": 6, "c": 4}
    assert np.all(np.diff(rest) > 0)
    assert np.all(np.diff(held_out) > 0)


def test_the_split_depends_on_the_seed_alone():
    first, again, other = (split_rows(LABELS, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_classes_too_small_to_split_are_named():
    with pytest.raises(UserError, match=r"too small to split: 'x', 'y' \(1 row each, at least 2"):
        split_rows([*LABELS, "y", "x"], 0.2, seed=0)


@pytest.mark.parametrize("size", [0.01, 0.99])
def test_a_side_with_fewer_rows_than_classes_is_an_error(size):
    with pytest.raises(UserError, match="each side needs a row for each of 3 classes"):
        split_rows(LABELS, size, seed=0)


@pytest.mark.parametrize("size", [0.0, 1.0, -0.5, 20])
def test_the_size_is_a_share(size):
    with pytest.raises(UserError, match="between 0 and 1"):
        split_rows(LABELS, size, seed=0)


def test_parts_share_no_row_and_leave_none_out():
    parts = split_parts(LABELS, 0.2, 0.1, seed=0)
    assert [len(part) for part in parts] == [70, 10, 20]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert parts.test.tolist() == split_rows(LABELS, 0.2, seed=0)[1].tolist()


def test_parts_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(UserError, match=r"test_size 0.5 and validation_size 0.5 leave no row"):
        split_parts(LABELS, 0.5, 0.5, seed=0)


@given(
    classes=st.lists(st.integers(0, 2), min_size=1, max_size=200),
    size=st.integers(1, 30),
    shares=st.sampled_from([(0.2, 0.0), (0.0, 0.3), (0.25, 0.25), (0.0, 0.0)]),
)
def test_pieces_give_each_part_its_share_of_each_class(classes, size, shares):
    labels = np.array(classes)
    parts: list[list[int]] = [[], [], []]
    before = np.zeros(3, int)
    for start in range(0, len(labels), size):
        piece = labels[start : start + size]
        for part, rows in zip(parts, split_piece(piece, before, *shares, (7, start)), strict=True):
            assert np.all(np.diff(rows) > 0)
            part += (rows + start).tolist()
        before += np.bincount(piece, minlength=3)
    assert sorted(i for part in parts for i in part) == list(range(len(labels)))
    test, validation = shares
    for label, count in enumerate(np.bincount(labels, minlength=3).tolist()):
        _, valid, held_out = (sum(labels[part] == label) for part in parts)
        assert held_out == math.floor(count * test)
        assert held_out + valid == math.floor(count * (test + validation))


def test_which_rows_of_a_piece_are_held_out_is_random():
    labels, nothing = np.zeros(40, int), np.zeros(1, int)
    first, again, other = (
        split_piece(labels, nothing, 0.25, 0.0, (seed, 5)).test.tolist() for seed in (1, 1, 2)
    )
    assert len(first) == 10
    assert first == again != other
    assert first != list(range(10))
