"""What only a GPU or a TPU runs, against float32 on the same device: `make accelerator`."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bertjax.models import attention, residual_norm
from bertjax.models.attention import attend
from bertjax.models.configs import BertConfig
from bertjax.models.flash_attention import flash_attend
from bertjax.models.fused_attention import fused_attend
from bertjax.models.heads import make_model
from bertjax.models.residual_norm import LayerNorm, fused_norm, has_norm_kernel
from bertjax.models.segments import visible

# Pallas's Triton backend is deprecated from jax 0.11 on.
pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")


def plain(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
    return attend(*heads, visible(segment_ids), rate, "float32")[0]


def flash(precision: str) -> Callable[..., jax.Array]:
    def function(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
        key = hk.maybe_next_rng_key()
        together = jnp.stack(heads, axis=2).astype(precision)
        attended = flash_attend(together, segment_ids, rate, key, jax.default_backend())
        return attended.astype(jnp.float32)

    return function


def cudnn(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
    together = jnp.stack(heads, axis=2).astype(jnp.bfloat16)
    attended = fused_attend("cudnn", together, visible(segment_ids), segment_ids, rate, None)
    return attended.astype(jnp.float32)


KERNELS = [
    (flash("float32"), 0.0, 2e-6),
    (flash("float32"), 0.1, 2e-6),
    (flash("bfloat16"), 0.0, 1e-2),
    (flash("bfloat16"), 0.1, 1e-2),
    *([(cudnn, 0.0, 1e-2)] if jax.default_backend() == "gpu" else []),
]


def value_and_gradients(function: Callable[..., Any], rate: float, segment_ids, *operands):
    """Where tokens are real, as float64: what padding sees is up to each path."""
    key = jax.random.key(1) if rate else None
    real = (segment_ids > 0)[:, :, None, None]

    @jax.jit
    def both(*operands):
        *heads, slope = operands
        model = hk.transform(lambda *heads: function(rate, segment_ids, *heads))
        value, back = jax.vjp(lambda *heads: model.apply({}, key, *heads) * real, *heads)
        return value, *back(slope)

    return [np.asarray(x, np.float64) for x in both(*operands)]


@pytest.mark.parametrize(("tokens", "width"), [(128, 32), (320, 64), (330, 64), (512, 64)])
@pytest.mark.parametrize(("function", "rate", "bound"), KERNELS)
def test_a_kernel_gives_what_the_plain_path_gives(function, rate, bound, tokens, width):
    rng = np.random.default_rng(0)
    operands = jnp.asarray(rng.normal(size=(4, 3, tokens, 2, width)), jnp.float32)
    rows = np.zeros((3, tokens), np.int32)
    for row, parts in zip(rows, ([9, 40, 30], [tokens], [tokens - 20, 7]), strict=True):
        row[: sum(parts)] = np.repeat(np.arange(len(parts)) + 1, parts)
    found = value_and_gradients(function, rate, jnp.asarray(rows), *operands)
    exact = value_and_gradients(plain, rate, jnp.asarray(rows), *operands)
    for one, other in zip(found, exact, strict=True):
        assert np.linalg.norm(one - other) < bound * np.linalg.norm(other)


def norm_and_gradients(kernel: bool, rate: float, *operands) -> list[np.ndarray]:
    """Of a residual sum: both results, and the gradients of all operands."""

    def model(residual, update, scale, offset):
        if kernel:
            key, backend = hk.maybe_next_rng_key(), jax.default_backend()
            return tuple(fused_norm(residual, update, scale, offset, rate, key, 1e-12, backend))
        norm = LayerNorm(BertConfig())
        norm.parameters = lambda x: (scale, offset)
        exact = norm.of_sum(residual, update, rate, "float32").exact
        return exact, exact.astype(update.dtype)

    apply = hk.transform(model).apply

    @jax.jit
    def both(*operands):
        *operands, slope = operands
        values, back = jax.vjp(lambda *x: apply({}, jax.random.key(1), *x), *operands)
        return *values, *back((slope, slope.astype(values[1].dtype)))

    return [np.asarray(x, np.float64) for x in both(*operands)]


# (tokens, width); a TPU has no such kernel.
NORMS = [(128, 384), (77, 768), (768, 1024)] if jax.default_backend() == "gpu" else []


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(("tokens", "width"), NORMS)
def test_a_norm_s_kernel_gives_what_the_plain_path_gives(tokens, width, rate):
    assert has_norm_kernel(width, "bfloat16")
    rng = np.random.default_rng(0)
    residual, update, slope = jnp.asarray(rng.normal(size=(3, 3, tokens, width)), jnp.float32)
    # Rounded beforehand: on the plain path XLA may leave the rounding within a program out.
    slope = slope.astype(jnp.bfloat16).astype(jnp.float32)
    scale, offset = jnp.asarray(rng.normal(size=(2, width)), jnp.float32)
    operands = residual, update.astype(jnp.bfloat16), scale, offset, slope
    found = norm_and_gradients(True, rate, *operands)
    exact = norm_and_gradients(False, rate, *operands)
    bounds = [1e-5, 3e-3, 1e-5, 3e-3, 1e-5, 1e-5]  # some results are rounded to bfloat16
    for one, other, bound in zip(found, exact, bounds, strict=True):
        assert np.linalg.norm(one - other) < bound * np.linalg.norm(other)


CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=256,
    max_position_embeddings=128,
    initializer_range=0.1,
)


def model_value_and_gradients(key: jax.Array | None, tokens: int) -> list[np.ndarray]:
    """Logits of a whole model in bfloat16, and the gradient of its parameters in one, as float64.

    In one, for of a key's bias it is zero but for rounding.
    """
    model = make_model(CONFIG, "token-classification", "bfloat16")
    rng = np.random.default_rng(0)
    ids = jnp.asarray(rng.integers(1, CONFIG.vocab_size, (3, tokens)))
    segment_ids = jnp.asarray(np.repeat([[1, 2, 0], [1, 1, 1], [1, 1, 2]], tokens // 3 + 1, axis=1))
    segment_ids = segment_ids[:, :tokens]
    params = jax.jit(model.init)(jax.random.key(2), ids)

    @jax.jit
    def both(params, slope):
        def logits(params):
            output = model.apply(params, key, ids, segment_ids=segment_ids)
            return jnp.where(segment_ids[..., None] > 0, output.logits, 0.0)

        value, back = jax.vjp(logits, params)
        return value, ravel_pytree(back(slope))[0]

    slope = jnp.asarray(rng.normal(size=(3, tokens, CONFIG.num_labels)), jnp.float32)
    return [np.asarray(x, np.float64) for x in both(params, slope)]


@pytest.mark.parametrize("tokens", [77, 128])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_model_gives_with_kernels_what_it_gives_without(seed, tokens, monkeypatch):
    key = None if seed is None else jax.random.key(seed)
    found = model_value_and_gradients(key, tokens)
    monkeypatch.setattr(attention, "choose_kernel", lambda *_: None)
    monkeypatch.setattr(residual_norm, "has_norm_kernel", lambda *_: False)
    plain = model_value_and_gradients(key, tokens)
    for one, other in zip(found, plain, strict=True):
        assert np.linalg.norm(one - other) < 2e-2 * np.linalg.norm(other)
