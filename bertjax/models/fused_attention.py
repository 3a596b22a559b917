"""Attention as one kernel that keeps no scores: NVIDIA's cuDNN, through `jax.nn`.

It takes bfloat16, has no dropout and gives no probabilities; where more is asked for, and on other
devices, `bertjax.models.attention.attend` computes the same.
"""

from typing import Literal

import jax
import jax.numpy as jnp

Kernel = Literal["cudnn", "xla"]

_WIDEST_HEAD = 128  # of a kernel that has a derivative too


def fits(head_size: int, precision: str) -> bool:
    """Whether the default device has the kernel for heads of this size."""
    if jax.default_backend() != "gpu" or precision != "bfloat16":
        return False
    return head_size % 8 == 0 and head_size <= _WIDEST_HEAD


def fused_attend(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, kernel: Kernel = "cudnn"
) -> jax.Array:
    """softmax(q k^T / sqrt(K)) v over the keys that `mask` shows; operands in bfloat16.

    Args:
        query, key, value: [B, T, N, K] float32.
        mask: bool [B, T, T], true where the query (axis 1) sees the key (axis 2).
        kernel: an `implementation` of `jax.nn.dot_product_attention`.

    Returns:
        [B, T, N, K] float32.
    """
    query, key, value = (x.astype(jnp.bfloat16) for x in (query, key, value))
    attended = jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=mask[:, None],  # [B, 1, T, T]
        implementation=kernel,
    )
    return attended.astype(jnp.float32)
