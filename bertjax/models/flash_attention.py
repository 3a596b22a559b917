"""Attention of packed rows by kernels of ours that keep no scores in memory, and have dropout.

Dropout zeroes what `dropout` would of the probabilities, so a model trains the same with this and
with `bertjax.models.attention.attend`. Tiles of scores between which nothing is seen, as of two
sequences of a packed row, are passed over. The kernels run on NVIDIA's GPUs (tests/accelerator) and
in Pallas's interpreters (tests/models). For TPUs, v4, v5e and v6e, they are compiled
(tests/tpu_compiler), and were never run on one.

B rows, T tokens, N heads, K width of a head; in arrays for the kernels T includes padding.
"""

from functools import partial

import jax
import jax.numpy as jnp

from bertjax.models.dropout import flat_index, hashed_columns, hashed_rows, key_words
from bertjax.models.flash_calls import backward, forward
from bertjax.models.flash_kernels import Drops, Forms, Masks, Residuals, Settings
from bertjax.models.on_each_device import on_each_device


def flash_attend(
    heads: jax.Array,
    segment_ids: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
    backend: str,
) -> jax.Array:
    """softmax(q k^T / sqrt(K)) v over the keys of a query's own sequence.

    It has a derivative in reverse, once: `jax.grad`, but not `jax.jvp` or a Hessian.

    Args:
        heads: queries, keys and values, [B, T, 3, N, K], float32 or bfloat16, in which products are
            then computed; K is a power of two, of at least 16.
        segment_ids: int [B, T].
        dropout_rate: of the probabilities.
        dropout_key: None: no dropout.
        backend: what the kernels are for, `gpu` or `tpu`; on `cpu` they are interpreted, slowly.

    Returns:
        [B, T, N, K], in the type of `heads`. Padding before the first sequence sees the one of
        number 1, other padding nothing: zeros.
    """
    rows, tokens, _, count, width = heads.shape
    if dropout_key is None:
        dropout_rate = 0.0
    settings = Settings(tokens, dropout_rate, backend, width)

    def padded(x: jax.Array, axis: int, multiple: int = settings.multiple) -> jax.Array:
        missing = -x.shape[axis] % multiple
        widths = [(0, missing if place == axis else 0) for place in range(x.ndim)]
        return jnp.pad(x, widths) if missing else x

    segments = padded(segment_ids, 1)
    # Padding in front sees what follows it: a head may read a row's first token, whatever it is.
    in_front = jnp.cumsum(segments > 0, axis=1) == 0
    masks = Masks(
        queries=Forms.of(settings, jnp.where(in_front, 1, segments)),
        keys=Forms.of(settings, jnp.where(segments > 0, segments, -1)),
    )
    bits = None
    if dropout_key is not None and dropout_rate > 0.0:
        words = key_words(dropout_key)
        queries = hashed_rows(flat_index((rows, count, tokens)), words)
        queries = padded(padded(queries, 1, settings.heads_at_once), 2)
        keys = hashed_columns(flat_index((tokens,)), words)
        keys = padded(jnp.broadcast_to(keys, (rows, tokens)), 1)
        bits = Drops(Forms.of(settings, queries), Forms.of(settings, keys))
    heads = padded(padded(heads, 1), 3, settings.heads_at_once)
    attended: jax.Array = _attend(settings, heads, masks, bits)
    return attended[:, :tokens, :count]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, heads: jax.Array, masks: Masks, drops: Drops | None) -> jax.Array:
    """[B, T, N, K]."""
    return _attend_forward(settings, heads, masks, drops)[0]


def _attend_forward(settings, heads, masks, drops):
    attended, lse = on_each_device(partial(forward, settings), heads, masks, drops)
    return attended, (heads, masks, drops, attended, lse)


def _attend_backward(settings, saved, gradient):
    heads, masks, drops, attended, lse = saved
    delta = (attended.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(axis=-1)
    delta = delta.transpose(0, 2, 1)  # [B, N, T]
    residuals = Residuals(Forms.of(settings, lse), Forms.of(settings, delta))
    kernel = partial(backward, settings)
    return on_each_device(kernel, heads, masks, drops, gradient, residuals), None, None


_attend.defvjp(_attend_forward, _attend_backward)
