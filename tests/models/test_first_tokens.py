"""Where a head reads first tokens alone, so does the last layer, to the same result."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

TASKS = ("text-classification", "next-sentence-prediction", "multiple-choice")
IDS = jnp.array([[3, 14, 15, 9, 3, 26, 5, 0], [3, 5, 8, 9, 7, 0, 0, 0]])
INPUTS = {
    "packed": {"segment_ids": jnp.array([[1, 1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0]])},
    "padded": {"attention_mask": jnp.array([[1] * 8, [1] * 5 + [0] * 3])},
    "padded on the left": {"attention_mask": jnp.array([[1] * 8, [0] * 3 + [1] * 5])},
}


def inputs_of(task: str, name: str) -> dict[str, jax.Array]:
    inputs = {"input_ids": IDS, **INPUTS[name]}
    if task == "multiple-choice":
        return {key: value[None] for key, value in inputs.items()}
    return inputs


@pytest.mark.parametrize("name", INPUTS)
def test_what_the_head_reads_is_given_if_asked_for(build, name):
    model, params = build("text-classification")
    output = model.apply(params, None, IDS, **INPUTS[name], output_pooler=True)
    head = params["classifier"]
    expected = output.pooler_output @ head["w"] + head["b"]
    np.testing.assert_allclose(output.logits, expected, atol=1e-5)
    assert output.pooler_output.shape[-1] == len(head["w"])
    assert model.apply(params, None, IDS, **INPUTS[name]).pooler_output is None


@pytest.mark.parametrize(
    ("task", "name"),
    [("text-classification", name) for name in INPUTS] + [(task, "packed") for task in TASKS[1:]],
)
def test_logits_and_gradients_are_those_of_the_whole_layer(build, task, name):
    model, params = build(task)
    inputs = inputs_of(task, name)

    def results(**options):
        """Logits, and the gradient of their sum weighted at random."""

        def weighted(params):
            logits = model.apply(params, None, **inputs, **options).logits
            weights = np.random.default_rng(0).normal(size=logits.shape)
            return (logits * jnp.asarray(weights, jnp.float32)).sum(), logits

        gradient, logits = jax.jit(jax.grad(weighted, has_aux=True))(params)
        return logits, gradient

    # Who asks for hidden states gets those of all tokens.
    found, expected = results(), results(output_hidden_states=True)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected[1]))
    for a, b in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * largest)


@pytest.mark.parametrize("task", TASKS)
def test_the_last_layer_is_work_for_first_tokens_alone(build, tiny, task):
    """Of the only layer, keys and values are left: a quarter of its weights and less."""
    model, params = build(task, replace(tiny, num_hidden_layers=1, intermediate_size=32))
    inputs = inputs_of(task, "padded")

    def flops(**options) -> float:
        def logits(params):
            return model.apply(params, None, **inputs, **options).logits

        return jax.jit(logits).lower(params).cost_analysis()["flops"]

    assert flops() < 0.5 * flops(output_hidden_states=True)


def test_a_model_without_layers_reads_the_embeddings(build, tiny):
    model, params = build("text-classification", replace(tiny, num_hidden_layers=0))
    found = model.apply(params, None, IDS)
    assert found.logits.shape == (2, 3)
    np.testing.assert_array_equal(
        found.logits, model.apply(params, None, IDS, output_hidden_states=True).logits
    )
