"""One kernel against the attention that is always right; here XLA stands in for the kernel."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models import attention, fused_attention, residual_norm
from bertjax.models.attention import attend
from bertjax.models.configs import BertConfig
from bertjax.models.fused_attention import (
    choose_kernel,
    fused_attend,
    trains_with_local_attention,
)
from bertjax.models.heads import make_model
from bertjax.models.segments import visible

B, T, N, K = 2, 12, 3, 8
SEGMENTS = jnp.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=32,
    initializer_range=0.1,
)


@pytest.fixture(autouse=True)
def loose_promotion(strict_promotion):
    """`jax.nn.dot_product_attention` itself promotes bfloat16 in its XLA form."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def heads(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, T, N, K)), jnp.float32)


def together(*operands: jax.Array) -> jax.Array:
    return jnp.stack(operands, axis=2).astype(jnp.bfloat16)


QUERY, KEY, VALUE, SLOPE = (heads(seed) for seed in range(4))


def test_values_and_gradients_are_those_of_the_products_in_bfloat16():
    mask = visible(SEGMENTS)

    def fused(*operands):
        return fused_attend("xla", together(*operands), mask, SEGMENTS, 0.0, None)

    def plain(*operands):
        model = hk.transform(lambda *operands: attend(*operands, mask, 0.0, "bfloat16")[0])
        return model.apply({}, None, *operands)

    found, back = jax.vjp(fused, QUERY, KEY, VALUE)
    expected, expected_back = jax.vjp(plain, QUERY, KEY, VALUE)
    assert found.dtype == jnp.bfloat16
    for one, other in zip(
        (found, *back(SLOPE.astype(found.dtype))), (expected, *expected_back(SLOPE)), strict=True
    ):
        # Some roundings to bfloat16, each of 2^-9, apart.
        one = np.asarray(one, np.float32)
        np.testing.assert_allclose(one, other, atol=0.02 * float(jnp.abs(other).max()))


def test_nothing_leaks_between_packed_sequences():
    mask = visible(SEGMENTS)
    before = fused_attend("xla", together(QUERY, KEY, VALUE), mask, SEGMENTS, 0.0, None)
    changed = [x.at[0, 5:9].add(3.0) for x in (QUERY, KEY, VALUE)]  # the second one
    after = fused_attend("xla", together(*changed), mask, SEGMENTS, 0.0, None)
    np.testing.assert_array_equal(before[0, :5], after[0, :5])
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.array_equal(before[0, 5:9], after[0, 5:9])


def on_device(monkeypatch, backend: str, compute_capability: str) -> None:
    """As if the default device were such a one."""
    device = SimpleNamespace(platform=backend, compute_capability=compute_capability)
    monkeypatch.setattr(fused_attention.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(fused_attention.jax, "devices", lambda: [device])


@pytest.mark.parametrize(
    ("backend", "head_size", "precision", "drops", "expected"),
    [
        ("gpu", 64, "bfloat16", False, "cudnn"),
        ("gpu", 128, "bfloat16", False, "cudnn"),
        ("gpu", 24, "bfloat16", False, "cudnn"),
        ("gpu", 20, "bfloat16", False, None),
        ("gpu", 256, "bfloat16", False, None),
        ("gpu", 64, "float32", False, None),
        ("gpu", 64, "bfloat16", True, "flash"),
        ("gpu", 24, "bfloat16", True, None),
        ("gpu", 64, "float32", True, None),
        ("tpu", 32, "bfloat16", False, "flash"),
        ("tpu", 64, "bfloat16", True, "flash"),
        ("tpu", 64, "float32", True, None),
        ("cpu", 64, "bfloat16", False, None),
        ("cpu", 64, "bfloat16", True, None),
    ],
)
def test_which_kernel_a_device_has(backend, head_size, precision, drops, expected, monkeypatch):
    on_device(monkeypatch, backend, "9.0")
    assert choose_kernel(head_size, T, precision, drops) == expected


@pytest.mark.parametrize(
    ("head_size", "tokens", "drops", "expected"),
    [
        (64, 77, False, "flash"),
        (64, 78, False, "cudnn"),
        (64, 77, True, "flash"),
        (24, 77, False, None),  # of a size that ours does not take
        (24, 78, False, "cudnn"),
    ],
)
def test_a_gpu_has_no_kernel_of_cudnn_for_an_odd_number_of_tokens(
    head_size, tokens, drops, expected, monkeypatch
):
    on_device(monkeypatch, "gpu", "9.0")
    assert choose_kernel(head_size, tokens, "bfloat16", drops) == expected


@pytest.mark.parametrize(("tokens", "expected"), [(11, "flash"), (12, "cudnn")])
def test_a_model_tells_how_many_tokens_its_rows_have(tokens, expected, monkeypatch):
    on_device(monkeypatch, "gpu", "9.0")
    calls = []

    def called(kernel, heads, *_):
        calls.append(kernel)
        return heads[:, :, 0]

    monkeypatch.setattr(attention, "fused_attend", called)
    model = make_model(CONFIG, "token-classification", "bfloat16")
    ids = jnp.arange(B * tokens).reshape(B, tokens)
    params = jax.eval_shape(model.init, jax.random.key(0), ids)
    calls.clear()
    jax.eval_shape(partial(model.apply, segment_ids=ids), params, None, ids)
    assert calls == [expected] * CONFIG.num_hidden_layers


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize(
    ("capability", "has_kernels"),
    [("7.5", False), ("8.0", True), ("12.0", True), ("gfx942", False), ("gfx90a", False)],
)
def test_a_gpu_has_kernels_if_it_is_an_ampere_or_later(capability, has_kernels, drops, monkeypatch):
    on_device(monkeypatch, "gpu", capability)
    assert (choose_kernel(64, T, "bfloat16", drops) is not None) == has_kernels


@pytest.mark.parametrize(
    ("backend", "rate", "precision", "local"),
    [
        ("gpu", 0.1, "bfloat16", True),
        ("gpu", 0.0, "bfloat16", False),  # cuDNN's computes all scores
        ("gpu", 0.1, "float32", False),
        ("tpu", 0.1, "bfloat16", False),
        ("cpu", 0.1, "bfloat16", False),
    ],
)
def test_where_training_passes_over_other_sequences(backend, rate, precision, local, monkeypatch):
    on_device(monkeypatch, backend, "9.0")
    config = replace(CONFIG, attention_probs_dropout_prob=rate)
    assert trains_with_local_attention(config, precision) == local


@pytest.fixture
def kernel_calls(monkeypatch) -> list[tuple[int, ...]]:
    """As on a GPU, by what runs on any device; the kernels that are called for."""
    calls = []

    def choose(head_size, tokens, precision, drops):
        return "flash" if drops else "xla"

    def counted(kernel, *operands):
        calls.append(kernel)
        return fused_attend(kernel, *operands)

    monkeypatch.setattr(attention, "choose_kernel", choose)
    monkeypatch.setattr(attention, "fused_attend", counted)
    monkeypatch.setattr(residual_norm, "has_norm_kernel", lambda *_: True)
    return calls


@pytest.mark.parametrize(
    ("task", "rate", "seed", "options", "expected"),
    [
        ("token-classification", 0.1, None, {}, ["xla", "xla"]),
        ("token-classification", 0.0, 0, {}, ["xla", "xla"]),
        ("token-classification", 0.1, 0, {}, ["flash", "flash"]),
        ("token-classification", 0.1, 0, {"output_attentions": True}, []),
        ("token-classification", 0.1, None, {"output_attentions": True}, []),
        # The last layer computes first tokens: as many as there may be sequences, which is T here.
        ("text-classification", 0.1, None, {}, ["xla"]),
        ("text-classification", 0.1, 0, {}, ["flash"]),
    ],
)
def test_a_model_takes_a_kernel_that_does_all_that_is_asked_for(
    task, rate, seed, options, expected, kernel_calls
):
    config = replace(CONFIG, attention_probs_dropout_prob=rate)
    model = make_model(config, task, "bfloat16")
    ids = jnp.arange(B * T).reshape(B, T)
    params = jax.eval_shape(model.init, jax.random.key(0), ids)
    kernel_calls.clear()
    key = None if seed is None else jax.random.key(seed)
    apply = partial(model.apply, segment_ids=SEGMENTS, **options)
    jax.eval_shape(apply, params, key, ids)  # what is traced is what will run
    assert kernel_calls == expected


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_a_model_drops_the_same_with_and_without_kernels(
    rate, kernel_calls, random_params, monkeypatch
):
    model = make_model(replace(CONFIG, attention_probs_dropout_prob=rate), "fill-mask", "bfloat16")
    ids = jnp.arange(B * T).reshape(B, T)
    params = random_params(model, ids, deviation=0.02)
    apply = partial(model.apply, params, jax.random.key(1), ids, segment_ids=SEGMENTS)
    fused = apply().logits
    assert "flash" in kernel_calls or not rate
    monkeypatch.setattr(attention, "choose_kernel", lambda *_: None)
    monkeypatch.setattr(residual_norm, "has_norm_kernel", lambda *_: False)
    plain = apply().logits
    np.testing.assert_allclose(fused, plain, atol=0.05 * float(jnp.abs(plain).max()))


def test_a_new_model_has_the_same_parameters_with_and_without_kernels(kernel_calls, monkeypatch):
    model = make_model(CONFIG, "fill-mask", "bfloat16")
    ids = jnp.arange(B * T).reshape(B, T)
    fused = jax.jit(model.init)(jax.random.key(1), ids)
    assert "flash" in kernel_calls
    monkeypatch.setattr(attention, "choose_kernel", lambda *_: None)
    monkeypatch.setattr(residual_norm, "has_norm_kernel", lambda *_: False)
    plain = jax.jit(lambda key: model.init(key, ids))(jax.random.key(1))
    assert jax.tree.structure(fused) == jax.tree.structure(plain)
    for one, other in zip(jax.tree.leaves(fused), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)
