import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.packing import row_cost
from bertjax.data.shapes import CALL_COST, SEGMENTS, Call, Shape, fixed_shapes, plan_calls

LADDER = (24, 40, 56)


def cost(calls: list[Call]) -> float:
    return sum(CALL_COST + call.shape.rows * row_cost(call.shape.row_length, 384) for call in calls)


@given(
    st.lists(st.integers(2, 512), max_size=60),
    st.sampled_from([512, 1024, 4096]),
    st.sampled_from([100, 512]),
)
def test_every_text_is_in_one_row_of_a_fixed_shape(lengths, slots, max_length):
    lengths = [min(length, max_length) for length in lengths]
    shapes = fixed_shapes(LADDER, max_length, slots)
    calls = plan_calls(lengths, shapes, 384)
    texts = [text for call in calls for row in call.rows for text in row]
    assert sorted(texts) == list(range(len(lengths)))
    for call in calls:
        assert call.shape in shapes
        assert 0 < len(call.rows) <= call.shape.rows
        for row in call.rows:
            assert 0 < len(row) <= SEGMENTS
            assert sum(lengths[text] for text in row) <= call.shape.row_length


@given(st.lists(st.integers(2, 128), min_size=1, max_size=40))
def test_together_texts_cost_no_more_than_alone(lengths):
    shapes = fixed_shapes(LADDER, 512, 1024)
    alone = sum(cost(plan_calls([length], shapes, 384)) for length in lengths)
    assert cost(plan_calls(lengths, shapes, 384)) <= alone


@pytest.mark.parametrize(("length", "row"), [(2, 24), (24, 24), (25, 40), (57, 64), (129, 256)])
def test_a_text_alone_takes_the_shortest_row_that_holds_it(length, row):
    assert plan_calls([length], fixed_shapes(LADDER, 512, 1024), 384) == [
        Call(Shape(1, row), [[0]])
    ]


def test_short_texts_share_a_row():
    [call] = plan_calls([10, 12, 14], fixed_shapes(LADDER, 512, 1024), 384)
    assert call.shape == (1, 40)
    assert sorted(call.rows[0]) == [0, 1, 2]


def test_many_texts_fill_rows_and_a_long_one_has_its_own():
    calls = plan_calls([32] * 32 + [500], fixed_shapes(LADDER, 512, 1024), 384)
    assert [call.shape for call in calls] == [(16, 64), (1, 512)]


def test_the_slots_bound_all_shapes_but_single_rows():
    shapes = fixed_shapes(LADDER, 512, 1024)
    assert [shape for shape in shapes if shape.rows == 1] == [
        (1, length) for length in (24, 40, 56, 64, 128, 256, 512)
    ]
    several = [shape for shape in shapes if shape.rows > 1]
    assert several == [(4, 64), (16, 64), (2, 128), (8, 128), (4, 256)]


def test_no_row_is_longer_than_the_longest_text():
    assert max(shape.row_length for shape in fixed_shapes((16, 4096), 100, 1024)) == 100
    assert fixed_shapes((), 8, 1024) == [(1, 8)]


def test_no_texts_need_no_call():
    assert plan_calls([], fixed_shapes(LADDER, 512, 1024), 384) == []
    assert plan_calls(np.zeros(0, int), fixed_shapes(LADDER, 512, 1024), 384) == []


def test_a_text_that_fits_no_row_is_refused():
    with pytest.raises(ValueError, match="a text of 513 tokens exceeds the longest row, 512"):
        plan_calls([513], fixed_shapes(LADDER, 512, 1024), 384)
