"""Attention as one kernel that keeps no scores, where the default device has one.

On a GPU of NVIDIA's that is cuDNN's, through `jax.nn`, or ours where probabilities are dropped,
which that one cannot do, or a row's tokens are odd in number; on a TPU it is ours. They take
bfloat16 and give no probabilities: where more is asked for, and on other devices,
`bertjax.models.attention.attend` computes the same.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from bertjax.models.precision import is_ampere

Kernel = Literal["cudnn", "xla", "flash"]  # `xla`: as cuDNN's, on any device, for tests

_WIDEST_CUDNN = 128  # of a kernel that has a derivative too
_FLASH_SIZES = (32, 64, 128)


def choose_kernel(head_size: int, tokens: int, precision: str, drops: bool) -> Kernel | None:
    """What the default device has for heads of this size; None: no kernel.

    Args:
        tokens: T, of a row.
        drops: whether probabilities are dropped.
    """
    backend = jax.default_backend()
    if backend not in ("gpu", "tpu") or precision != "bfloat16":
        return None
    # Neither kernel takes bfloat16 on an older GPU, nor was tried on another maker's.
    if backend == "gpu" and not is_ampere(jax.devices()[0]):
        return None
    # Of cuDNN's with a mask JAX has no derivative for an odd T; whether one will be taken is not
    # known here.
    if backend == "gpu" and not drops and tokens % 2 == 0:
        return "cudnn" if head_size % 8 == 0 and head_size <= _WIDEST_CUDNN else None
    return "flash" if head_size in _FLASH_SIZES else None


def fused_attend(
    kernel: Kernel,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    segment_ids: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """softmax(q k^T / sqrt(K)) v over the keys that `mask` shows; operands in bfloat16.

    Args:
        query, key, value: [B, T, N, K] float32.
        mask: bool [B, T, T], true where the query (axis 1) sees the key (axis 2).
        segment_ids: int [B, T], of which `segments.visible` made the mask; `flash` reads these.
        dropout_rate: of the probabilities, for `flash`; no other kernel drops any.
        dropout_key: None: no dropout.

    Returns:
        [B, T, N, K] float32.
    """
    if kernel == "flash":
        from bertjax.models.flash_attention import flash_attend  # Pallas takes half a second

        options = dropout_rate, dropout_key, "bfloat16", jax.default_backend()
        return flash_attend(query, key, value, segment_ids, *options)
    query, key, value = (x.astype(jnp.bfloat16) for x in (query, key, value))
    attended = jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=mask[:, None],  # [B, 1, T, T]
        implementation=kernel,
    )
    return attended.astype(jnp.float32)
