"""One kernel against the attention that is always right; here XLA stands in for the kernel."""

from dataclasses import replace
from functools import partial

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models import attention, fused_attention
from bertjax.models.attention import attend
from bertjax.models.configs import BertConfig
from bertjax.models.fused_attention import fits, fused_attend
from bertjax.models.heads import make_model
from bertjax.models.segments import visible

B, T, N, K = 2, 12, 3, 8
SEGMENTS = jnp.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=32,
    initializer_range=0.5,
)


@pytest.fixture(autouse=True)
def loose_promotion(strict_promotion):
    """`jax.nn.dot_product_attention` itself promotes bfloat16 in its XLA form."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def heads(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, T, N, K)), jnp.float32)


QUERY, KEY, VALUE, SLOPE = (heads(seed) for seed in range(4))


def test_values_and_gradients_are_those_of_the_products_in_bfloat16():
    mask = visible(SEGMENTS)

    def fused(*operands):
        return fused_attend(*operands, mask, kernel="xla")

    def plain(*operands):
        model = hk.transform(lambda *operands: attend(*operands, mask, 0.0, "bfloat16")[0])
        return model.apply({}, None, *operands)

    found, back = jax.vjp(fused, QUERY, KEY, VALUE)
    expected, expected_back = jax.vjp(plain, QUERY, KEY, VALUE)
    assert found.dtype == jnp.float32
    for one, other in zip((found, *back(SLOPE)), (expected, *expected_back(SLOPE)), strict=True):
        # Some roundings to bfloat16, each of 2^-9, apart.
        np.testing.assert_allclose(one, other, atol=0.02 * float(jnp.abs(other).max()))


def test_nothing_leaks_between_packed_sequences():
    mask = visible(SEGMENTS)
    before = fused_attend(QUERY, KEY, VALUE, mask, kernel="xla")
    changed = [x.at[0, 5:9].add(3.0) for x in (QUERY, KEY, VALUE)]  # the second one
    after = fused_attend(*changed, mask, kernel="xla")
    np.testing.assert_array_equal(before[0, :5], after[0, :5])
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.array_equal(before[0, 5:9], after[0, 5:9])


@pytest.mark.parametrize(
    ("backend", "head_size", "precision", "expected"),
    [
        ("gpu", 64, "bfloat16", True),
        ("gpu", 128, "bfloat16", True),
        ("gpu", 64, "float32", False),
        ("gpu", 20, "bfloat16", False),
        ("gpu", 256, "bfloat16", False),
        ("tpu", 64, "bfloat16", False),
        ("cpu", 64, "bfloat16", False),
    ],
)
def test_where_the_kernel_is_taken(backend, head_size, precision, expected, monkeypatch):
    monkeypatch.setattr(fused_attention.jax, "default_backend", lambda: backend)
    assert fits(head_size, precision) == expected


@pytest.fixture
def kernel_calls(monkeypatch) -> list[tuple[int, ...]]:
    """As on a device with the kernel; the shapes that it is called with."""
    calls = []

    def counted(*operands):
        calls.append(operands[0].shape)
        return fused_attend(*operands, kernel="xla")

    monkeypatch.setattr(attention, "fits", lambda *_: True)
    monkeypatch.setattr(attention, "fused_attend", counted)
    return calls


@pytest.mark.parametrize(
    ("rate", "seed", "options", "expected"),
    [
        (0.1, None, {}, True),
        (0.0, 0, {}, True),
        (0.1, 0, {}, False),  # the kernel has no dropout
        (0.1, None, {"output_attentions": True}, False),  # and no probabilities
    ],
)
def test_a_model_takes_it_where_it_does_all_that_is_asked_for(
    rate, seed, options, expected, kernel_calls
):
    config = replace(CONFIG, attention_probs_dropout_prob=rate)
    model = make_model(config, "token-classification", "bfloat16")
    ids = jnp.arange(B * T).reshape(B, T)
    params = jax.eval_shape(model.init, jax.random.key(0), ids)
    kernel_calls.clear()
    key = None if seed is None else jax.random.key(seed)
    apply = partial(model.apply, segment_ids=SEGMENTS, **options)
    jax.eval_shape(apply, params, key, ids)  # what is traced is what will run
    assert kernel_calls == ([(B, T, 2, 8)] * 2 if expected else [])


def test_dropout_elsewhere_draws_the_same_with_and_without_it(kernel_calls, monkeypatch):
    model = make_model(replace(CONFIG, attention_probs_dropout_prob=0.0), "fill-mask", "bfloat16")
    ids = jnp.arange(B * T).reshape(B, T)
    params = model.init(jax.random.key(0), ids)
    apply = partial(model.apply, params, jax.random.key(1), ids)
    fused = apply().logits
    monkeypatch.setattr(attention, "fits", lambda *_: False)
    np.testing.assert_allclose(fused, apply().logits, atol=0.05 * float(jnp.abs(fused).max()))
