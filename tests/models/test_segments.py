import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.models import segments

# Two sequences and padding; one sequence after padding.
IDS = jnp.array([[1, 1, 1, 2, 2, 0], [0, 0, 1, 1, 1, 1]])


def test_a_query_sees_its_own_sequence_and_padding_sees_all_real_tokens():
    first = np.array(
        [
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [0, 0, 0, 1, 1, 0],
            [0, 0, 0, 1, 1, 0],
            [1, 1, 1, 1, 1, 0],
        ]
    )
    seen = segments.visible(IDS)
    np.testing.assert_array_equal(seen[0], first)
    np.testing.assert_array_equal(seen[1], np.tile([0, 0, 1, 1, 1, 1], (6, 1)))
    assert seen.dtype == bool


def test_positions_restart_with_each_sequence():
    np.testing.assert_array_equal(segments.positions(IDS), [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3]])


def test_padding_has_no_position_however_long_it_is():
    ids = jnp.array([[1, 1, 1, 2, 2, 2, 2, *[0] * 9], [0] * 16])
    found = segments.positions(ids)
    np.testing.assert_array_equal(found, [[0, 1, 2, 0, 1, 2, 3, *[0] * 9], [0] * 16])


def test_padding_reads_no_position_that_its_text_does_not_have(build, tiny):
    model, params = build("text-classification")
    text = jnp.array([[3, 5, 8, 9]])
    own = model.apply(params, None, text).logits[0]
    # A row longer than the model has positions, and one of padding alone.
    padding = ((0, 1), (0, tiny.max_position_embeddings))
    ids, numbers = jnp.pad(text, padding), jnp.pad(jnp.ones_like(text), padding)
    name = "bert/embeddings/position_embeddings"
    table = params[name]["embeddings"].at[4:].set(jnp.nan)  # 0 x nan would reach the text
    params = {**params, name: {"embeddings": table}}
    found = model.apply(params, None, ids, segment_ids=numbers, max_segments=1).logits
    np.testing.assert_allclose(found[0, 0], own, atol=1e-5)
    assert np.isfinite(found).all()


@settings(deadline=None, max_examples=50)  # the first example compiles
@given(st.lists(st.integers(0, 3), min_size=16, max_size=16))
def test_positions_count_within_runs_of_tokens(ids):
    expected: list[int] = []
    for i, number in enumerate(ids):
        goes_on = i > 0 and number > 0 and ids[i - 1] == number
        expected.append(expected[-1] + 1 if goes_on else 0)
    found = segments.positions(jnp.array([ids], jnp.int32))
    np.testing.assert_array_equal(found[0], expected)


def test_members_of_each_sequence_and_of_none():
    found = segments.members(IDS, 3)
    np.testing.assert_array_equal(found[0, 0], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(found[0, 1], [0, 0, 0, 1, 1, 0])
    assert not found[0, 2].any()
    assert not found[1, 1:].any()


def test_first_tokens_are_where_each_sequence_starts():
    first = segments.first_tokens(IDS, 2)
    np.testing.assert_array_equal(first, [[0, 3], [2, 0]])  # absent: the row's


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 1), (2, 6, 3, 2)])
def test_tokens_are_taken_of_each_row(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    tokens = jnp.array([[0, 3], [5, 5]])
    expected = [x[0, [0, 3]], x[1, [5, 5]]]
    np.testing.assert_array_equal(segments.take_tokens(jnp.asarray(x), tokens), expected)


def test_mean_tokens_leaves_padding_and_other_sequences_out():
    x = jnp.arange(12.0).reshape(2, 6, 1)
    mean = segments.mean_tokens(x, IDS, 2)
    np.testing.assert_array_equal(mean[..., 0], [[1.0, 3.5], [9.5, 0.0]])  # absent: zero
