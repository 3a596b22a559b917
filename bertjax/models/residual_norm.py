"""What ends both halves of a layer: dropout, residual sum, layer norm (Ba et al. 2016).

B rows, T tokens a row, D width.
"""

from functools import partial
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.configs import BertConfig
from bertjax.models.dropout import dropout, flat_index, hashed_columns, hashed_rows, key_words
from bertjax.models.on_each_device import on_each_device
from bertjax.models.precision import exact, has_kernels, rounds_results


class Hidden(NamedTuple):
    """Hidden states, [B, T, D] both; one array where nothing is rounded between products."""

    exact: jax.Array  # float32: what residual sums add to
    operand: jax.Array  # what products take, perhaps rounded already


def hidden(x: jax.Array, precision: str) -> Hidden:
    """Hidden states from float32 ones."""
    return Hidden(x, x.astype(jnp.bfloat16) if rounds_results(precision) else x)


class LayerNorm(hk.Module):
    """Normalise the last axis, in float32."""

    def __init__(self, config: BertConfig, name: str = "layer_norm"):
        super().__init__(name=name)
        self.eps = config.layer_norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        return _normalised(x, *self.parameters(x), self.eps)

    def parameters(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale and offset [D], for x [..., D]."""
        scale = hk.get_parameter("scale", x.shape[-1:], x.dtype, init=jnp.ones)
        return scale, hk.get_parameter("offset", x.shape[-1:], x.dtype, init=jnp.zeros)

    def of_sum(self, residual: jax.Array, update: jax.Array, rate: float, precision: str) -> Hidden:
        """The norm of a residual sum.

        Args:
            residual: float32 [B, T, D].
            update: [B, T, D], of which dropout, at this rate, leaves a part; perhaps rounded.
        """
        weights = self.parameters(residual)
        if has_norm_kernel(residual.shape[-1], precision):
            key = hk.maybe_next_rng_key()  # as `dropout` takes one: others stay the same
            return fused_norm(
                residual, update, *weights, rate, key, self.eps, jax.default_backend()
            )
        # In two dimensions, since XLA's CPU backend makes slower loops of three.
        rows, update = (x.reshape(-1, x.shape[-1]) for x in (residual, exact(update)))
        normalised = _normalised(rows + dropout(update, rate), *weights, self.eps)
        return hidden(normalised.reshape(residual.shape), precision)


def _normalised(x: jax.Array, scale: jax.Array, offset: jax.Array, eps: float) -> jax.Array:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    return scale * jax.lax.rsqrt(variance + eps) * (x - mean) + offset


def has_norm_kernel(width: int, precision: str) -> bool:
    """Whether the default device has a kernel for rows of this width."""
    if not has_kernels("gpu", precision):
        return False
    from bertjax.models.norm_kernels import fits  # Pallas takes half a second

    return fits(width)


def fused_norm(
    residual: jax.Array,
    update: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    rate: float,
    key: jax.Array | None,
    eps: float,
    backend: str,
) -> Hidden:
    """`LayerNorm.of_sum` by a kernel; its operand has the type of `update`.

    Args:
        scale, offset: float32 [D].
        key: of dropout; None: no dropout.
        backend: `gpu`; on `cpu` the kernel is interpreted, slowly.
    """
    from bertjax.models.norm_kernels import Drops, Settings, Weights

    rows, tokens, width = residual.shape
    drops = None
    if key is not None and rate > 0.0:
        words = key_words(key)
        columns = hashed_columns(flat_index((width,)), words)
        columns = jnp.broadcast_to(columns, (rows, 1, width))
        drops = Drops(hashed_rows(flat_index((rows, tokens, 1)), words), columns)
    settings = Settings(eps, rate if drops else 0.0, backend)
    weights = Weights(*(jnp.broadcast_to(x, (rows, 1, width)) for x in (scale, offset)))
    both: tuple[jax.Array, jax.Array] = _fused(settings, residual, update, weights, drops)
    return Hidden(*both)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(settings, residual, update, weights, drops):
    return _fused_forward(settings, residual, update, weights, drops)[0]


def _fused_forward(settings, residual, update, weights, drops):
    from bertjax.models.norm_kernels import forward

    both = on_each_device(partial(forward, settings), residual, update, weights, drops)
    return both, (residual, update, weights, drops)


def _fused_backward(settings, saved, gradients):
    from bertjax.models.norm_kernels import Weights, backward

    residual, update, weights, drops = saved
    kernel = partial(backward, settings)
    residual, update, sums = on_each_device(kernel, residual, update, weights, drops, gradients)
    sums = sums.sum(axis=1)  # [B, 2, D]
    return residual, update, Weights(sums[:, :1], sums[:, 1:]), None


_fused.defvjp(_fused_forward, _fused_backward)
