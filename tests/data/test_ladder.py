from bisect import bisect_left
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.ladder import (
    BATCHES,
    LENGTHS,
    STEP,
    fit_ladder,
    ladder_batches,
    ladder_lengths,
    ladder_shapes,
)
from bertjax.data.packing import row_cost

lengths_of_texts = st.lists(st.integers(2, 128), max_size=150)


def texts_of(lengths) -> list[np.ndarray]:
    return [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]


@given(lengths_of_texts, st.sampled_from([128, 200, 512]), st.sampled_from([64, 1024, 4096]))
def test_every_text_comes_once_in_a_shape_of_the_ladder(lengths, max_length, budget):
    rungs = ladder_lengths(max_length)
    shapes = ladder_shapes(rungs, budget)
    seen = []
    for texts, batch in ladder_batches(texts_of(lengths), rungs, budget, pad_token_id=-1):
        ids, mask = batch["input_ids"], batch["attention_mask"]
        assert ids.shape == mask.shape
        assert ids.shape in shapes
        assert ids.dtype == mask.dtype == np.int32
        assert mask.sum(axis=1)[: len(texts)].tolist() == [lengths[text] for text in texts]
        assert not mask[len(texts) :].any()
        for row, text in enumerate(texts):
            assert set(ids[row, : lengths[text]]) == {text + 1}
        assert np.all(ids[mask == 0] == -1)
        seen += texts.tolist()
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_texts)
def test_no_text_is_padded_past_its_own_rung_and_no_batch_is_less_than_half_full(lengths):
    for texts, batch in ladder_batches(texts_of(lengths), ladder_lengths(128)):
        size, length = batch["input_ids"].shape
        assert 2 * len(texts) >= size
        assert all(lengths[text] > length // 2 or length == 16 for text in texts)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (2, [4]), (5, [4, 1]), (6, [4, 4]), (8, [16]), (64, [64]), (70, [64, 4, 4])],
)
def test_batches_take_the_rungs_that_waste_little(count, sizes):
    batches = ladder_batches(texts_of([10] * count), (16, 128))
    assert [len(batch["input_ids"]) for _, batch in batches] == sizes


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


def test_the_budget_bounds_all_batches_but_that_of_one_text():
    assert all(b * t <= 4096 for b, t in ladder_shapes(LENGTHS))
    assert (1, 8192) in ladder_shapes((8192,))
    assert len(ladder_shapes((16,))) == len(BATCHES)


def test_a_text_past_the_maximum_is_refused():
    with pytest.raises(ValueError, match="a text of 9 tokens exceeds the last rung, 8"):
        next(ladder_batches(texts_of([9]), (8,)))
