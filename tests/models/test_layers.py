from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from bertjax.models.layers import Dense, Embeddings, look_up


def test_dense_is_x_w_plus_b_over_any_leading_axes(tiny):
    model = hk.transform(lambda x: Dense(2, tiny, "float32", "dense")(x))
    params = {
        "dense": {"w": jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "b": jnp.array([0.5, -1.0])}
    }
    x = jnp.array([1.0, 0.0, -1.0])
    expected = [-3.5, -5.0]  # 1 - 5 + 0.5, 2 - 6 - 1
    np.testing.assert_array_equal(model.apply(params, None, x[None]), [expected])
    stacked = model.apply(params, None, jnp.broadcast_to(x, (2, 4, 3)))
    np.testing.assert_array_equal(stacked, np.broadcast_to(expected, (2, 4, 2)))


def test_a_new_dense_layer_has_normal_weights_and_no_bias(tiny):
    config = replace(tiny, initializer_range=0.5)
    model = hk.transform(lambda x: Dense(64, config, "float32", "dense")(x))
    params = model.init(jax.random.key(1), jnp.zeros((1, 64)))["dense"]
    assert abs(float(params["w"].std()) - 0.5) < 0.02
    assert abs(float(params["w"].mean())) < 0.03
    assert not params["b"].any()


def test_embeddings_are_the_normalised_sum_of_three_rows(tiny):
    config = replace(tiny, hidden_size=2, num_attention_heads=1, layer_norm_eps=0.0)
    tables = {
        "word": np.zeros((29, 2)),
        "position": np.zeros((12, 2)),
        "token_type": np.zeros((3, 2)),
    }
    tables["word"][5] = [1.0, 0.0]
    tables["position"][11] = [0.0, 4.0]
    tables["token_type"][2] = [2.0, 1.0]  # the sum is [3, 5]: mean 4, deviation 1
    params = {
        f"embeddings/{kind}_embeddings": {"embeddings": jnp.asarray(table, jnp.float32)}
        for kind, table in tables.items()
    }
    params["embeddings/layer_norm"] = {
        "scale": jnp.array([1.0, 3.0]),
        "offset": jnp.array([0.5, 0.0]),
    }
    model = hk.transform(lambda *ids: Embeddings(config)(*ids))
    x, words = model.apply(params, None, *(jnp.array([[i]]) for i in (5, 2, 11)))
    np.testing.assert_allclose(x, [[[-0.5, 3.0]]], rtol=1e-6)
    np.testing.assert_array_equal(words, tables["word"])


def test_rows_are_looked_up_with_the_derivative_of_an_index():
    table = jax.random.normal(jax.random.key(0), (7, 3))
    ids = jnp.array([[2, 6, 2], [0, 2, 6]])  # some rows several times, others not at all
    slopes = jax.random.normal(jax.random.key(1), (2, 3, 3))
    np.testing.assert_array_equal(look_up(table, ids), table[ids])
    expected = jax.grad(lambda table: (table[ids] * slopes).sum())(table)
    found = jax.grad(lambda table: (look_up(table, ids) * slopes).sum())(table)
    np.testing.assert_array_equal(found, expected)


def test_a_slope_that_is_not_finite_reaches_its_own_row_alone():
    table, ids = jnp.ones((4, 2)), jnp.array([2, 0])
    slopes = jnp.array([[jnp.inf, 1.0], [1.0, 1.0]])
    found = jax.jit(jax.grad(lambda table: (look_up(table, ids) * slopes).sum()))(table)
    np.testing.assert_array_equal(found, [[1, 1], [0, 0], [jnp.inf, 1], [0, 0]])
