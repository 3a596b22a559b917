"""Attention as one kernel that keeps no scores, where the default device has one.

On a GPU of NVIDIA's that is cuDNN's, through `jax.nn`, or ours where probabilities are dropped,
which that one cannot do, or a row's tokens are odd in number; on a TPU it is ours. They take
bfloat16 and give no probabilities: where more is asked for, and on other devices,
`bertjax.models.attention.attend` computes the same.
"""

from typing import Literal

import jax

from bertjax.models.configs import BertConfig, Precision
from bertjax.models.precision import has_kernels, resolve_precision

Kernel = Literal["cudnn", "xla", "flash"]  # `xla`: as cuDNN's, on any device, for tests

_WIDEST_CUDNN = 128  # of a kernel that has a derivative too
_FLASH_SIZES = (32, 64, 128)


def choose_kernel(head_size: int, tokens: int, precision: str, drops: bool) -> Kernel | None:
    """What the default device has for heads of this size; None: no kernel.

    Args:
        tokens: T, of a row.
        drops: whether probabilities are dropped.
    """
    on_gpu = has_kernels("gpu", precision)
    if not on_gpu and not has_kernels("tpu", precision):
        return None
    # Of cuDNN's with a mask JAX has no derivative for an odd T; whether one will be taken is not
    # known here.
    if on_gpu and not drops and tokens % 2 == 0:
        return "cudnn" if head_size % 8 == 0 and head_size <= _WIDEST_CUDNN else None
    return "flash" if head_size in _FLASH_SIZES else None


def trains_with_local_attention(config: BertConfig, precision: Precision) -> bool:
    """Whether training takes a kernel that passes over what other sequences of a row hold.

    Not on a TPU: the kernel does there too, by tiles of 128, but no step of longer rows was timed.
    """
    if not has_kernels("gpu", resolve_precision(precision)):
        return False
    drops = config.attention_probs_dropout_prob > 0
    tokens = 64  # of which training's rows are then a multiple
    return choose_kernel(config.head_size, tokens, "bfloat16", drops) == "flash"


def fused_attend(
    kernel: Kernel,
    heads: jax.Array,
    mask: jax.Array,
    segment_ids: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """softmax(q k^T / sqrt(K)) v over the keys that `mask` shows to the tokens of sequences.

    Args:
        heads: queries, keys and values, bfloat16 [B, T, 3, N, K].
        mask: bool [B, T, T], true where the query (axis 1) sees the key (axis 2).
        segment_ids: int [B, T], of which `segments.visible` made the mask; `flash` reads these.
        dropout_rate: of the probabilities, for `flash`; no other kernel drops any.
        dropout_key: None: no dropout.

    Returns:
        bfloat16 [B, T, N, K]; at padding, what no token of a sequence sees.
    """
    if kernel == "flash":
        from bertjax.models.flash_attention import flash_attend  # Pallas takes half a second

        options = dropout_rate, dropout_key, jax.default_backend()
        return flash_attend(heads, segment_ids, *options)
    query, key, value = (heads[:, :, part] for part in range(3))
    seen = mask[:, None]  # [B, 1, T, T]
    return jax.nn.dot_product_attention(query, key, value, mask=seen, implementation=kernel)
