"""Attention of packed rows by kernels of ours that keep no scores in memory, and have dropout.

Dropout zeroes what `dropout` would of the probabilities, so a model trains the same with this and
with `bertjax.models.attention.attend`. The kernels were run in Pallas's interpreter and on an H200
(jax 0.11.2), where they take two thirds of the time of that path at 512 tokens and no memory for
scores. For TPUs they were lowered and compiled (by libtpu 0.0.41), and never run.

B rows, T tokens, N heads, K width of a head; in arrays for the kernels T includes padding.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from bertjax.models.dropout import key_words, positions
from bertjax.models.flash_kernels import Heads, Masks, Settings, Slopes, backward, forward


def flash_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segment_ids: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
    precision: str,
    backend: str,
) -> jax.Array:
    """softmax(q k^T / sqrt(K)) v over the keys that `segments.visible` shows.

    It has a derivative in reverse, once: `jax.grad`, but not `jax.jvp` or a Hessian.

    Args:
        query, key, value: [B, T, N, K] float32; K is a power of two, of at least 16.
        segment_ids: int [B, T].
        dropout_rate: of the probabilities.
        dropout_key: None: no dropout.
        precision: `float32` or `bfloat16`, to which operands and results are rounded.
        backend: what the kernels are for, `gpu` or `tpu`; on `cpu` they are interpreted, slowly.

    Returns:
        [B, T, N, K] float32; zeros in a row that is only padding.
    """
    rows, tokens, heads, _ = query.shape
    if dropout_key is None or dropout_rate == 0.0:
        dropout_rate, words = 0.0, jnp.zeros(1, jnp.uint32)
    else:
        words = key_words(dropout_key)
    settings = Settings(tokens, dropout_rate, backend)
    padding = (0, -tokens % settings.side)

    def tokens_last(x: jax.Array) -> jax.Array:
        x = x.astype(precision).transpose(0, 2, 3, 1)
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), padding))  # [B, N, K, T]

    segments = jnp.pad(segment_ids, ((0, 0), padding))
    masks = Masks(
        query_segments=segments[:, None, :],
        key_segments=segments[:, :, None],
        starts=positions((rows, heads, 1, 1)) * np.uint32(tokens),
        words=jnp.broadcast_to(words, (rows, 1, len(words))),
    )
    attended: jax.Array = _attend(settings, Heads(*map(tokens_last, (query, key, value))), masks)
    attended = attended[..., :tokens].transpose(0, 3, 1, 2)  # [B, T, N, K]
    return attended.astype(jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, heads: Heads, masks: Masks) -> jax.Array:
    """[B, N, K, T]."""
    return _attend_forward(settings, heads, masks)[0]


def _attend_forward(settings, heads, masks):
    attended, log_sums = _by_rows(partial(forward, settings), heads, masks)
    return attended, (heads, masks, attended, log_sums)


def _attend_backward(settings, saved, gradient):
    heads, masks, attended, log_sums = saved
    products = attended.astype(jnp.float32) * gradient.astype(jnp.float32)
    slopes = Slopes(gradient, log_sums, products.sum(axis=2, keepdims=True))
    return _by_rows(partial(backward, settings), heads, masks, slopes), None


_attend.defvjp(_attend_forward, _attend_backward)


def _by_rows(kernel: Callable, heads: Heads, *others):
    """Run a kernel; on each device for its rows, if arrays lie on a mesh of devices.

    The compiler cannot divide what it does not look into. All arrays have rows first, and dropout's
    positions come with them. Where there is no equal share of rows, each device runs all.
    """
    mesh = jax.typeof(heads.query).sharding.mesh
    if not mesh.auto_axes:  # one device, or already a device's part of a mapped function
        return kernel(heads, *others)
    even = len(heads.query) % mesh.size == 0
    rows = PartitionSpec(mesh.axis_names if even else None)
    # No check: a kernel's results are not marked with the axes that they vary over.
    split = jax.shard_map(kernel, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return split(heads, *others)
