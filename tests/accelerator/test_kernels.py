"""What only a GPU or a TPU runs, against float32 on the same device: `make accelerator`."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bertjax.models import attention
from bertjax.models.attention import attend
from bertjax.models.configs import BertConfig
from bertjax.models.flash_attention import flash_attend
from bertjax.models.fused_attention import fused_attend
from bertjax.models.heads import make_model
from bertjax.models.segments import visible

# Pallas's Triton backend is deprecated from jax 0.11 on.
pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")


def plain(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
    return attend(*heads, visible(segment_ids), rate, "float32")[0]


def flash(precision: str) -> Callable[..., jax.Array]:
    def function(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
        key = hk.maybe_next_rng_key()
        return flash_attend(*heads, segment_ids, rate, key, precision, jax.default_backend())

    return function


def cudnn(rate: float, segment_ids: jax.Array, *heads: jax.Array) -> jax.Array:
    return fused_attend("cudnn", *heads, visible(segment_ids), segment_ids, rate, None)


KERNELS = [
    (flash("float32"), 0.0, 2e-6),
    (flash("float32"), 0.1, 2e-6),
    (flash("bfloat16"), 0.0, 1e-2),
    (flash("bfloat16"), 0.1, 1e-2),
    *([(cudnn, 0.0, 1e-2)] if jax.default_backend() == "gpu" else []),
]


def value_and_gradients(function: Callable[..., Any], rate: float, segment_ids, *operands):
    """Where tokens are real, as float64."""
    key = jax.random.key(1) if rate else None

    @jax.jit
    def both(*operands):
        *heads, slope = operands
        model = hk.transform(lambda *heads: function(rate, segment_ids, *heads))
        value, back = jax.vjp(lambda *heads: model.apply({}, key, *heads), *heads)
        return value, *back(slope)

    real = np.asarray(segment_ids > 0)[:, :, None, None]
    return [np.asarray(x, np.float64) * real for x in both(*operands)]


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
    plain = model_value_and_gradients(key, tokens)
    for one, other in zip(found, plain, strict=True):
        assert np.linalg.norm(one - other) < 2e-2 * np.linalg.norm(other)
