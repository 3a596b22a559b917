from collections import Counter

import numpy as np
import pytest

from bertjax.data.splits import split_rows
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
