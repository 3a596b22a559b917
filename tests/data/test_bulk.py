import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.batches import packed_in_order
from bertjax.data.bulk import SHAPE_BATCHES, SLOTS, plan_bulk


def shapes(lengths, slots: int = SLOTS) -> list[tuple[int, int]]:
    """R x T of each group."""
    return [(g.plan.rows, g.plan.row_length) for g in plan_bulk(lengths, 384, slots)]


@given(st.lists(st.integers(1, 700), min_size=1, max_size=200))
def test_every_text_comes_once_and_fits_its_rows(lengths):
    seen = []
    for group in plan_bulk(lengths, 384):
        ids = [np.full(lengths[text], text, np.int32) for text in group.texts]
        batches = list(packed_in_order(ids, None, group.plan))
        assert len(batches) == group.plan.steps
        assert group.plan.batch_size == max((b["rows_of"] >= 0).sum() for b in batches)
        for batch in batches:
            assert batch["input_ids"].shape == (group.plan.rows, group.plan.row_length)
            seen += group.texts[batch["rows_of"][batch["rows_of"] >= 0]].tolist()
    assert sorted(seen) == list(range(len(lengths)))


def test_short_texts_share_short_rows():
    assert shapes([16] * 4000) == [(SLOTS // 32, 32)]
    # 20 and 3 x 20 tokens: of 32 a third is empty, of 64 nearly nothing.
    assert shapes([20] * 4000) == [(SLOTS // 64, 64)]


def test_long_texts_do_not_lengthen_the_rows_of_many_short_ones():
    assert shapes([32] * 5000 + [500] * 40) == [(SLOTS // 32, 32), (SLOTS // 504, 504)]


def test_a_shape_is_not_compiled_for_a_few_texts():
    few = SHAPE_BATCHES * SLOTS // 64
    assert shapes([30] * (few // 30) + [60] * (few // 60)) == [(SLOTS // 64, 64)]


def test_larger_batches_have_more_rows_of_the_same_lengths():
    lengths = [32] * 20_000 + [500] * 160
    assert shapes(lengths, 8192) == [(8192 // 32, 32), (8192 // 504, 504)]


def test_the_larger_a_batch_the_more_texts_a_shape_of_their_own_takes():
    """For they are computed the faster, but compiled no faster."""
    lengths = [32] * 5000 + [500] * 40
    assert len(shapes(lengths)) == 2
    assert len(shapes(lengths, 16 * SLOTS)) == 1


def test_a_text_longer_than_all_rows_gets_a_row_of_its_own_length():
    assert shapes([5000]) == [(1, 5000)]


def test_very_short_texts_fill_a_row_up_to_its_most():
    (group,) = plan_bulk([3] * 1000, 384)
    assert group.plan.max_segments * 8 == group.plan.row_length
    assert group.plan.steps == -(-1000 // (group.plan.rows * group.plan.max_segments))
