import math

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models import attention
from bertjax.models.attention import SelfAttention
from bertjax.models.segments import visible

SEES_ALL = jnp.ones((1, 2, 2), bool)


def attend(query, key, value, mask, rate, precision, seed=None):
    """`attention.attend` within the transform that its dropout needs."""
    model = hk.transform(lambda *arrays: attention.attend(*arrays, rate, precision))
    return model.apply({}, None if seed is None else jax.random.key(seed), query, key, value, mask)


def two_tokens(*values: float) -> jax.Array:
    """[1, 2, 1, K] of one head."""
    return jnp.array(values, jnp.float32).reshape(1, 2, 1, -1)


def test_probabilities_are_the_softmax_of_scaled_products():
    # K is 4: the products are halved. The first query scores its keys 0 and ln 3.
    query = two_tokens(2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    key = two_tokens(0.0, 5.0, 0.0, 0.0, math.log(3.0), 0.0, 0.0, 0.0)
    value = two_tokens(4.0, 0.0, 0.0, 1.0, 8.0, 4.0, 0.0, 1.0)
    attended, probabilities = attend(query, key, value, SEES_ALL, 0.0, "float32")
    np.testing.assert_allclose(probabilities[0, 0], [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    expected = [[7.0, 3.0, 0.0, 1.0], [6.0, 2.0, 0.0, 1.0]]
    np.testing.assert_allclose(attended[0, :, 0], expected, rtol=1e-6)


def test_a_hidden_key_has_probability_zero_exactly_however_high_its_score():
    query, key = two_tokens(1.0, 1.0), two_tokens(0.0, 1e6)
    mask = jnp.array([[[True, False], [True, True]]])
    attended, probabilities = attend(query, key, two_tokens(3.0, 7.0), mask, 0.0, "float32")
    np.testing.assert_array_equal(probabilities[0, 0], [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(attended.ravel(), [3.0, 7.0])


def test_a_query_that_sees_nothing_gets_a_mean_and_a_finite_gradient():
    hidden = jnp.zeros((1, 2, 2), bool)

    def total(query):
        key, value = two_tokens(1.0, 2.0), two_tokens(3.0, 7.0)
        return attend(query, key, value, hidden, 0.0, "float32")[0].sum()

    value, slope = jax.value_and_grad(total)(two_tokens(1.0, -1.0))
    assert value == 10.0
    np.testing.assert_array_equal(slope.ravel(), [0.0, 0.0])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_heads_do_not_mix(precision):
    rng = np.random.default_rng(0)
    query, key, value = (jnp.asarray(rng.normal(size=(2, 5, 3, 4)), jnp.float32) for _ in range(3))
    mask = visible(jnp.array([[1, 1, 1, 1, 1], [1, 1, 2, 2, 0]]))
    together, _ = attend(query, key, value, mask, 0.0, precision)
    for i in range(3):
        parts = (x[:, :, i : i + 1] for x in (query, key, value))
        alone, _ = attend(*parts, mask, 0.0, precision)
        np.testing.assert_allclose(together[:, :, i : i + 1], alone, atol=1e-6)


def test_self_attention_projects_splits_heads_and_projects_again(tiny, random_params):
    x = np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)
    ids = jnp.array([[1, 1, 1], [1, 1, 0]])
    model = hk.transform(lambda x: SelfAttention(tiny, "float32")(x, x, visible(ids), ids))
    params = random_params(model, jnp.asarray(x))
    output, probabilities = model.apply(params, None, jnp.asarray(x))

    def dense(name, x):
        layer = {k: np.asarray(v, np.float64) for k, v in params[f"attention/{name}"].items()}
        return x @ layer["w"] + layer["b"]

    expected = np.zeros((2, 3, 8))
    for row in range(2):
        real = np.asarray(ids[row]) > 0
        for head in range(2):  # of width 4
            part = slice(4 * head, 4 * head + 4)
            q, k, v = (dense(n, x[row])[:, part] for n in ("query", "key", "value"))
            scores = np.where(real, q @ k.T / 2.0, -np.inf)
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(probabilities[row, head], weights, atol=1e-6)
            expected[row, :, part] = weights @ v
    np.testing.assert_allclose(output, dense("output", expected), atol=5e-6)


def test_dropout_acts_on_the_probabilities():
    query = jnp.zeros((1, 64, 1, 1))
    mask = jnp.ones((1, 64, 64), bool)
    attended, probabilities = attend(query, query, query + 1.0, mask, 0.25, "float32", seed=0)
    kept = np.asarray(probabilities)[np.asarray(probabilities) > 0]
    np.testing.assert_allclose(kept, 1 / 64 / 0.75, rtol=1e-6)
    np.testing.assert_allclose(attended.ravel(), probabilities.sum(axis=-1).ravel(), rtol=1e-5)
    assert abs(float(attended.mean()) - 1.0) < 0.04  # 4 deviations
