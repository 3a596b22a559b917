"""What only a GPU or a TPU runs, against float32 on the same device: `make accelerator`."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.attention import attend
from bertjax.models.flash_attention import flash_attend
from bertjax.models.fused_attention import fused_attend
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
