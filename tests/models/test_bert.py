from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.activations import ACTIVATIONS
from bertjax.models.bert import BertEncoder, Layer
from bertjax.models.residual_norm import Hidden

INPUTS = tuple(
    jnp.array(rows)
    for rows in (
        [[3, 4, 5, 6], [7, 8, 9, 0]],  # input_ids
        [[0, 1, 1, 2], [0, 0, 1, 0]],  # token_type_ids
        [[0, 1, 2, 3], [0, 1, 2, 3]],  # position_ids
        [[1, 1, 1, 1], [1, 1, 1, 0]],  # segment_ids
    )
)


def encoder(config, remat: bool = False) -> hk.Transformed:
    return hk.transform(lambda *inputs: BertEncoder(config, "float32", remat)(*inputs))


def norm(x, params):
    x = np.asarray(x, np.float64)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * np.asarray(params["scale"]) + np.asarray(params["offset"])


def test_hidden_states_start_with_the_embeddings_and_end_with_the_result(tiny, random_params):
    model = encoder(tiny)
    params = random_params(model, *INPUTS)
    encoded = model.apply(params, None, *INPUTS)
    assert len(encoded.hidden_states) == 3
    assert len(encoded.attentions) == 2
    np.testing.assert_array_equal(encoded.hidden_states[-1], encoded.last_hidden_state)
    none = encoder(replace(tiny, num_hidden_layers=0)).apply(params, None, *INPUTS)
    np.testing.assert_array_equal(none.last_hidden_state, encoded.hidden_states[0])
    one = encoder(replace(tiny, num_hidden_layers=1)).apply(params, None, *INPUTS)
    np.testing.assert_array_equal(one.last_hidden_state, encoded.hidden_states[1])


def test_attention_probabilities_of_real_keys_sum_to_one(tiny, random_params):
    model = encoder(tiny)
    encoded = model.apply(random_params(model, *INPUTS), None, *INPUTS)
    for probabilities in encoded.attentions:
        np.testing.assert_allclose(probabilities.sum(-1), np.ones((2, 2, 4)), rtol=1e-6)
        np.testing.assert_array_equal(probabilities[1, :, :, 3], np.zeros((2, 4)))


@pytest.mark.parametrize("hidden_act", ["relu", "tanh", "prelu"])
def test_a_layer_is_attention_then_two_dense_layers_with_residual_norms(
    tiny, random_params, hidden_act
):
    """Attention is off (its output layer is zero), so the rest is computed by hand."""
    config = replace(tiny, hidden_act=hidden_act)
    x = np.random.default_rng(2).normal(size=(1, 3, 8)).astype(np.float32)
    ids, mask = jnp.ones((1, 3), jnp.int32), jnp.ones((1, 3, 3), bool)
    model = hk.transform(
        lambda x: Layer(config, "float32", "layer")(Hidden(x, x), mask, ids)[0].exact
    )
    params = random_params(model, jnp.asarray(x))
    silent = {k: jnp.zeros_like(v) for k, v in params["layer/attention/output"].items()}
    params["layer/attention/output"] = silent

    attended = norm(x, params["layer/attention_norm"])
    first, second = params["layer/intermediate"], params["layer/output"]
    inner = attended @ np.asarray(first["w"]) + np.asarray(first["b"])
    weight = params.get("layer/activation", {"weight": jnp.zeros(1)})["weight"].item()
    acts = {"relu": 0.0, "prelu": weight}
    inner = (
        np.tanh(inner)
        if hidden_act == "tanh"
        else np.where(inner > 0, inner, acts[hidden_act] * inner)
    )
    output = inner @ np.asarray(second["w"]) + np.asarray(second["b"])
    expected = norm(attended + output, params["layer/output_norm"])
    np.testing.assert_allclose(model.apply(params, None, jnp.asarray(x)), expected, atol=5e-6)


@pytest.mark.parametrize("hidden_act", sorted(ACTIVATIONS))
def test_every_activation_owns_parameters_in_each_layer_or_none(tiny, hidden_act):
    model = encoder(replace(tiny, hidden_act=hidden_act))
    shapes = jax.eval_shape(model.init, jax.random.key(0), *INPUTS)
    owned = {"prelu": {"weight"}, "xielu": {"alpha_p", "alpha_n", "beta", "eps"}}.get(hidden_act)
    for i in range(2):
        module = shapes.get(f"bert/layer_{i}/activation")
        assert (None if module is None else set(module)) == owned


def test_parameters_are_float32(tiny):
    shapes = jax.eval_shape(encoder(tiny).init, jax.random.key(0), *INPUTS)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_every_parameter_but_the_key_biases_has_a_gradient(tiny, random_params):
    model = encoder(replace(tiny, num_hidden_layers=1))
    params = random_params(model, *INPUTS)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4, 8)), jnp.float32)

    def weighted(params):
        return (model.apply(params, None, *INPUTS).last_hidden_state * weights).sum()

    slopes = jax.jit(jax.grad(weighted))(params)
    for module, values in slopes.items():
        for name, slope in values.items():
            # Adding one number to all scores of a query changes no probability.
            zero = module.endswith("/key") and name == "b"
            assert (float(jnp.abs(slope).max()) < 1e-5) == zero, (module, name)


def test_rematerialisation_changes_no_output_no_gradient_and_no_mask_of_dropout(
    tiny, random_params
):
    config = replace(
        tiny, num_hidden_layers=1, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2
    )
    params = random_params(encoder(config), *INPUTS)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4, 8)), jnp.float32)

    def slopes_by(remat: bool):
        def objective(params, seed):
            encoded = encoder(config, remat).apply(params, jax.random.key(seed), *INPUTS)
            return (encoded.last_hidden_state * weights).sum(), encoded

        return jax.jit(jax.grad(objective, has_aux=True))

    def same(a, b) -> list[bool]:
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return [np.allclose(x, y, rtol=1e-6, atol=1e-6) for x, y in pairs]

    plain, again = slopes_by(False), slopes_by(True)
    (slopes, encoded), (same_slopes, same_encoded) = plain(params, 0), again(params, 0)
    assert len(same_encoded.hidden_states) == 2
    assert len(same_encoded.attentions) == 1
    assert all(same((same_slopes, same_encoded), (slopes, encoded)))
    assert not all(same(again(params, 1), (slopes, encoded)))  # the masks are of the key


def test_rematerialisation_keeps_the_parameters_as_they_are(tiny):
    ends = [encoder(tiny, remat).init(jax.random.key(0), *INPUTS) for remat in (False, True)]
    jax.tree.map(np.testing.assert_array_equal, *ends)
