import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.pooling import SentencePooling

X = jnp.array([[[1.0, 0.0], [5.0, 8.0], [0.0, -2.0], [100.0, 100.0]]])  # [1, 4, 2]
IDS = jnp.array([[1, 1, 2, 0]])


@pytest.mark.parametrize(
    ("mode", "normalize", "expected"),
    [
        ("mean", False, [[3.0, 4.0], [0.0, -2.0]]),
        ("mean", True, [[0.6, 0.8], [0.0, -1.0]]),
        ("cls", False, [[1.0, 0.0], [0.0, -2.0]]),
        ("cls", True, [[1.0, 0.0], [0.0, -1.0]]),
    ],
)
def test_one_vector_a_sequence(mode, normalize, expected):
    pooled = SentencePooling(mode, normalize)(X, IDS, 2)
    np.testing.assert_allclose(pooled[0], expected, rtol=1e-6)


def test_an_absent_sequence_is_zero_and_its_gradient_is_zero():
    def last(x):
        return SentencePooling("mean", True)(x, IDS, 3)[0, 2].sum()

    value, slope = jax.value_and_grad(last)(X)
    assert value == 0.0
    np.testing.assert_array_equal(slope, np.zeros(X.shape))


def test_gradient_of_a_normalised_mean_stands_across_it():
    """|y| = 1 does not change along y, so the gradient of any sum of y is orthogonal to y."""

    def total(x):
        return (SentencePooling("mean", True)(x, IDS, 3)[0, 0] * jnp.array([2.0, 7.0])).sum()

    slope = jax.grad(total)(X)[0]
    # (w - y (y.w)) / |mean| / 2 tokens, with y = (0.6, 0.8), y.w = 6.8, |mean| = 5
    np.testing.assert_allclose(slope[0], [-0.208, 0.156], rtol=1e-5)
    np.testing.assert_allclose(slope[1], slope[0], rtol=1e-6)
    np.testing.assert_array_equal(slope[2:], np.zeros((2, 2)))
