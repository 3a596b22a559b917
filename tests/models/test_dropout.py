from itertools import pairwise

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.dropout import dropout, random_bits

N = 1 << 20  # draws of a test of randomness
SIGMAS = 5.0  # a right generator fails one comparison in two million


def drop(x, rate, seed):
    key = None if seed is None else jax.random.key(seed)
    return hk.transform(lambda x: dropout(x, rate)).apply({}, key, x)


def split_key(seed: int, number: int = 0):
    return jax.random.split(jax.random.key(seed), number + 1)[number]


def split_folded(key: jax.Array, number: int) -> jax.Array:
    return jax.random.split(jax.random.fold_in(key, number))[0]


def signs(key, shape=(N,)) -> np.ndarray:
    """Draws as -1 and 1: their products have mean 0 and variance 1 if they are independent."""
    return np.where(np.asarray(random_bits(key, shape)) < 2**31, -1.0, 1.0)


def deviations(products: np.ndarray) -> float:
    """How many standard deviations the mean of signs is from 0."""
    return abs(products.mean()) * np.sqrt(products.size)


def test_no_key_no_dropout():
    x = jnp.arange(5.0)
    np.testing.assert_array_equal(drop(x, 0.9, None), x)


def test_rate_zero_changes_nothing():
    x = jnp.arange(5.0)
    np.testing.assert_array_equal(drop(x, 0.0, 0), x)


def test_rate_one_leaves_nothing():
    np.testing.assert_array_equal(drop(jnp.ones(5), 1.0, 0), np.zeros(5))


@pytest.mark.parametrize("rate", [1e-4, 0.1, 0.5, 0.9])
def test_dropout_zeroes_at_its_rate_and_keeps_the_mean(rate):
    y = np.asarray(drop(jnp.ones(N), rate, 3))
    deviation = np.sqrt(rate * (1 - rate) / N)
    assert abs((y == 0).mean() - rate) < SIGMAS * deviation
    assert abs(y.mean() - 1.0) < SIGMAS * deviation / (1 - rate)
    np.testing.assert_allclose(y[y > 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_is_the_same_for_the_same_key_and_another_for_another():
    x = jnp.ones((7, 9))
    np.testing.assert_array_equal(drop(x, 0.5, 1), drop(x, 0.5, 1))
    assert not np.array_equal(drop(x, 0.5, 1), drop(x, 0.5, 2))


def test_gradient_of_dropout_is_its_factor():
    x = jnp.array([2.0, 3.0, 4.0, 5.0])
    slope = jax.grad(lambda x: drop(x, 0.5, 0).sum())(x)
    np.testing.assert_array_equal(slope, drop(jnp.ones(4), 0.5, 0))


@pytest.mark.parametrize("seed", range(4))
def test_every_value_of_every_byte_is_as_frequent(seed):
    bits = np.asarray(random_bits(split_key(seed), (N,)))
    for shift in (0, 8, 16, 24):
        counts = np.bincount((bits >> shift) & 0xFF, minlength=256)
        chi_squared = ((counts - N / 256) ** 2 / (N / 256)).sum()
        assert abs(chi_squared - 255) < SIGMAS * np.sqrt(2 * 255)


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 64, 384, 1000, 4096, 65536, 65537])
def test_positions_are_independent(lag):
    draws = signs(split_key(0))
    assert deviations(draws[lag:] * draws[:-lag]) < SIGMAS


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_rows_heads_queries_and_keys_are_independent(axis):
    draws = signs(split_key(7), (16, 12, 64, 64))
    assert deviations(draws * np.roll(draws, 1, axis)) < SIGMAS
    assert deviations(draws.mean(axis) * np.sqrt(draws.shape[axis])) < SIGMAS


@pytest.mark.parametrize("lag", [1, 2, 17, 512])
@pytest.mark.parametrize("seed", range(3))
def test_the_corners_of_rectangles_are_independent(lag, seed):
    """An entry's bits come from its row and its column: two of each meet in four entries."""
    draws = signs(split_key(seed), (1024, 1024))
    for rows, columns in ((lag, 0), (0, lag), (lag, lag)):
        moved = np.roll(draws, (rows, columns), (0, 1))
        assert deviations(draws * moved) < SIGMAS
    beside, below = np.roll(draws, lag, 1), np.roll(draws, lag, 0)
    assert deviations(draws * beside * below * np.roll(beside, lag, 0)) < SIGMAS


def test_a_square_is_not_its_own_mirror_image():
    draws = signs(split_key(3), (1024, 1024))
    above = np.triu_indices(1024, 1)
    assert deviations(draws[above] * draws.T[above]) < SIGMAS


def test_no_two_rows_or_columns_are_alike():
    bits = np.asarray(random_bits(split_key(4), (4096, 3072)))
    for axis in (0, 1):
        first = np.take(bits, [0, 1], axis=1 - axis)
        assert np.unique(first, axis=axis).shape[axis] == bits.shape[axis]


@pytest.mark.parametrize(
    "keys",
    [
        [split_key(0, layer) for layer in range(8)],  # of the layers of a step
        [split_key(seed) for seed in range(8)],  # of runs
        [split_folded(jax.random.key(0), step) for step in range(8)],
        [split_folded(jax.random.fold_in(jax.random.key(0), 5), device) for device in range(8)],
    ],
    ids=["layers", "seeds", "steps", "devices"],
)
def test_keys_are_independent(keys):
    draws = [signs(key) for key in keys]
    for one, other in pairwise(draws):
        assert deviations(one * other) < SIGMAS
        assert deviations(one[1:] * other[:-1]) < SIGMAS


def test_no_key_draws_what_another_does_in_another_order():
    """What a single round would do."""
    values = [set(np.asarray(random_bits(split_key(s), (1 << 12,))).tolist()) for s in range(40)]
    common = [len(one & other) for one, other in pairwise(values)]
    assert max(common) < 4  # by chance, 1 in 256 pairs have one value in common


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_every_kind_of_key_will_do(implementation):
    key = jax.random.split(jax.random.key(3, impl=implementation))[0]
    draws = signs(key)
    assert deviations(draws) < SIGMAS
    assert deviations(draws[1:] * draws[:-1]) < SIGMAS


def test_an_old_key_draws_as_the_typed_one_of_its_words():
    old, typed = jax.random.PRNGKey(5), jax.random.key(5)
    np.testing.assert_array_equal(random_bits(old, (9,)), random_bits(typed, (9,)))


@pytest.mark.parametrize("split", [("data", None), (None, "data")])
def test_a_mask_is_the_same_however_its_array_is_split(split):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec(*split))
    draw = jax.jit(lambda key: random_bits(key, (32, 24)), out_shardings=sharding)
    np.testing.assert_array_equal(draw(split_key(1)), random_bits(split_key(1), (32, 24)))
    assert "all-" not in draw.lower(split_key(1)).compile().as_text()  # nothing travels
