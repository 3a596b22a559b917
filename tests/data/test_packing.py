import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.packing import epoch_order, pack_rows, plan_packing
from bertjax.errors import UserError

lengths_of_texts = st.lists(st.integers(2, 100), min_size=1, max_size=80)
batch_sizes = st.integers(1, 20)
seeds = st.integers(0, 2**32)


@given(lengths_of_texts, batch_sizes, seeds)
def test_an_epoch_takes_every_text_once_in_steps_of_almost_one_size(lengths, batch_size, seed):
    steps = epoch_order(lengths, batch_size, seed, epoch=0)
    assert sorted(np.concatenate(steps)) == list(range(len(lengths)))
    sizes = [len(texts) for texts in steps]
    assert len(steps) == -(-len(lengths) // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@given(lengths_of_texts, batch_sizes, seeds)
def test_each_step_takes_one_text_of_each_stratum_of_lengths(lengths, batch_size, seed):
    steps = epoch_order(lengths, batch_size, seed, epoch=0)
    whole = len(lengths) // len(steps)  # strata with a text for every step
    of_steps = np.array([sorted(np.take(lengths, texts))[::-1][:whole] for texts in steps])
    strata = np.reshape(sorted(lengths)[::-1][: whole * len(steps)], (whole, len(steps)))
    assert np.sort(of_steps.T).tolist() == np.sort(strata).tolist()


def test_steps_cost_about_the_same():
    lengths = np.random.default_rng(0).integers(3, 128, 1000)
    tokens = [lengths[texts].sum() for texts in epoch_order(lengths, 32, seed=0, epoch=0)]
    assert max(tokens) < 1.1 * min(tokens)


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.concatenate(epoch_order(range(3, 103), 8, seed, epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4


def test_no_texts_are_no_steps():
    assert epoch_order([], 8, seed=0, epoch=0) == []


def test_best_fit_decreasing_by_hand():
    # 7 | 5 | then 4 fits beside 5 exactly (9 <= 10), 3 beside 7, and 1 in the last free slot.
    assert pack_rows([4, 3, 7, 5, 1], row_length=10) == [[2, 1], [3, 0, 4]]


@given(lengths_of_texts, st.integers(100, 300), st.none() | st.integers(1, 5))
def test_packed_rows_hold_every_text_once_and_no_more_than_fits(lengths, row_length, most):
    rows = pack_rows(lengths, row_length, most)
    assert sorted(text for row in rows for text in row) == list(range(len(lengths)))
    used = [sum(lengths[text] for text in row) for row in rows]
    assert max(used) <= row_length
    assert max(map(len, rows)) <= (most or len(lengths))
    if most is None and len(rows) > 1:
        assert sorted(used)[0] + sorted(used)[1] > row_length  # no two rows could be one


def test_a_text_longer_than_the_row_is_refused():
    with pytest.raises(ValueError, match="a text of 11 tokens exceeds the row length 10"):
        pack_rows([3, 11], 10)


def test_a_million_texts_fill_their_rows():
    lengths = np.random.default_rng(0).integers(3, 128, 1_000_000)
    rows = pack_rows(lengths, 128)
    assert len(rows) < 1.02 * lengths.sum() / 128


@given(lengths_of_texts, batch_sizes, st.integers(1, 3), st.integers(1, 8))
def test_a_plan_holds_every_step_of_every_epoch(lengths, batch_size, epochs, devices):
    plan = plan_packing(lengths, batch_size, 0, epochs, hidden_size=64, row_multiple=devices)
    assert plan.rows % devices == 0
    assert plan.row_length >= max(lengths)
    assert 0 < plan.fill <= 1
    steps = [epoch_order(lengths, batch_size, 0, epoch) for epoch in range(epochs)]
    assert {len(of_epoch) for of_epoch in steps} == {plan.steps}
    lengths = np.array(lengths)
    packed = [pack_rows(lengths[t], plan.row_length) for of_epoch in steps for t in of_epoch]
    most = max(map(len, packed))
    assert plan.rows == -(-most // devices) * devices
    assert plan.max_segments == max(len(row) for rows in packed for row in rows)


def test_a_plan_counts_and_fills():
    plan = plan_packing([16] * 16, batch_size=8, seed=0, epochs=1, hidden_size=1)
    assert (plan.row_length, plan.rows, plan.max_segments) == (32, 4, 2)
    assert (plan.texts, plan.tokens, plan.steps, plan.fill) == (16, 256, 2, 1.0)
    assert str(plan) == (
        "16 texts in 2 steps of 4 x 32 tokens (100% filled, at most 8 texts a step and 2 a row)"
    )


def test_the_row_length_weighs_padding_against_attention():
    # 64 texts of 33 tokens: 64 rows of 64 (52 % filled), 13 of 192 (85 %), 6 of 384 (92 %) ...
    def shape(hidden_size):
        plan = plan_packing([33] * 64, 64, 0, 1, hidden_size=hidden_size, longest=64)
        return plan.rows, plan.row_length

    assert shape(1) == (64, 64)  # attention is nearly all there is
    assert shape(384) == (13, 192)
    assert shape(1_000_000) == (6, 384)  # attention costs nothing beside the products


def test_rows_are_as_long_as_fills_them_where_attention_is_local():
    lengths = np.random.default_rng(0).integers(1, 512, 64)

    def plan(local):
        return plan_packing(lengths, 64, 0, 1, hidden_size=768, local_attention=local)

    assert (plan(False).rows, plan(False).row_length) == (37, 512)
    assert (plan(True).rows, plan(True).row_length) == (22, 768)
    assert plan(True).fill > 0.98
    # Kernels take 64 tokens at a time.
    short = plan_packing([5] * 3, 3, 0, 1, hidden_size=768, local_attention=True)
    assert (short.rows, short.row_length) == (1, 64)


def test_the_shortest_rows_fit_the_longest_text_and_few_are_too_short_to_compute_fast():
    def shortest(longest):
        return plan_packing([longest] * 64, 64, 0, 1, hidden_size=1).row_length

    assert [shortest(longest) for longest in (3, 32, 33, 40, 67, 500)] == [32, 32, 40, 40, 72, 504]


def test_a_plan_leaves_room_for_longer_texts_outside_it():
    assert plan_packing([10, 20], 2, 0, 1, hidden_size=64, longest=200).row_length >= 200


@pytest.mark.parametrize(("batch_size", "epochs"), [(0, 1), (1, 0), (-3, 1)])
def test_batch_size_and_epochs_are_at_least_one(batch_size, epochs):
    with pytest.raises(UserError, match="must be at least 1"):
        plan_packing([3], batch_size, 0, epochs, hidden_size=64)
