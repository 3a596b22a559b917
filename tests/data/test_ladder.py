from bisect import bisect_left
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.ladder import (
    STEP,
    fit_ladder,
    ladder_lengths,
)
from bertjax.data.packing import row_cost


def test_the_maximum_length_is_the_last_rung():
    assert ladder_lengths(100) == (16, 32, 64, 100)
    assert ladder_lengths(64) == (16, 32, 64)
    assert ladder_lengths(8) == (8,)
    assert ladder_lengths(8192)[-2:] == (512, 8192)


def padded_cost(lengths, rungs, hidden_size: int) -> float:
    return sum(row_cost(rungs[bisect_left(rungs, length)], hidden_size) for length in lengths)


@given(
    st.lists(st.integers(2, 60), max_size=40),
    st.integers(1, 4),
    st.sampled_from([60, 64]),
    st.sampled_from([4, 384]),
)
def test_a_fitted_ladder_is_the_cheapest_of_all(lengths, most, max_length, hidden_size):
    rungs = fit_ladder(lengths, max_length, hidden_size, most)
    assert rungs[-1] == max_length
    assert len(rungs) <= most
    every = [
        (*below, max_length)
        for count in range(most)
        for below in combinations(range(STEP, max_length, STEP), count)
    ]
    cheapest = min(padded_cost(lengths, others, hidden_size) for others in every)
    assert padded_cost(lengths, rungs, hidden_size) == pytest.approx(cheapest)


def test_a_fitted_ladder_ends_with_the_maximum():
    lengths = [20] * 50 + [40] * 50
    assert fit_ladder(lengths, 512, 384) == (24, 40, 512)
    assert fit_ladder(lengths, 40, 384) == (24, 40)
    assert fit_ladder([], 512, 384) == (512,)
    assert fit_ladder([5], 6, 384) == (6,)
