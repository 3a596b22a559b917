"""Kernels of dropout, residual sum and layer norm in one pass over memory, in Pallas for GPUs.

The compiler makes three passes of it forward and five backward, most of them over float32.

B rows, T tokens a row, D width, P programs a row, C tokens at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pltriton

from bertjax.models.dropout import bits_of, keep_scale, kept

_TOKENS = 16  # of a program, at most; it goes through a few at a time
_AT_ONCE = 2
_COLUMNS = 256  # of a chunk, at most


@dataclass(frozen=True)
class Settings:
    """What a kernel is compiled for, besides shapes and types."""

    eps: float
    dropout_rate: float
    backend: str  # gpu, or cpu, where Pallas's interpreter runs the kernel


class Weights(NamedTuple):
    """The norm's parameters, the same in each row, for a mesh to share out with the rows."""

    scale: jax.Array  # float32 [B, 1, D]
    offset: jax.Array  # float32 [B, 1, D]


class Drops(NamedTuple):
    """What dropout makes its bits of."""

    tokens: jax.Array  # uint32 [B, T, 1]: hashed rows
    columns: jax.Array  # uint32 [B, 1, D]: hashed columns, the same in each row


def fits(width: int) -> bool:
    """Whether rows of D are cut into few chunks, each a power of two."""
    return width % 64 == 0 and width <= 2048


def forward(
    settings: Settings,
    residual: jax.Array,
    update: jax.Array,
    weights: Weights,
    drops: Drops | None,
) -> tuple[jax.Array, jax.Array]:
    """norm(residual + dropout(update)) [B, T, D], in float32 and in the type of `update`.

    Args:
        residual: float32 [B, T, D].
        update: [B, T, D].
        drops: None: no dropout.
    """
    spec = _tokens_of(residual)
    return pl.pallas_call(
        partial(_forward_kernel, settings),
        grid=_grid(residual),
        in_specs=(spec, spec, *_shared_specs(residual, weights, drops)),
        out_specs=(spec, spec),
        out_shape=(residual, jax.ShapeDtypeStruct(update.shape, update.dtype)),
        **_how(settings),
    )(residual, update, weights, drops)


def backward(
    settings: Settings,
    residual: jax.Array,
    update: jax.Array,
    weights: Weights,
    drops: Drops | None,
    gradients: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of residual, update, and scale and offset [B, P, 2, D], yet to be summed.

    Args:
        gradients: of both results of forward.
    """
    rows, programs = _grid(residual)
    width = residual.shape[2]
    spec = _tokens_of(residual)
    sums = pl.BlockSpec((None, None, 2, width), lambda row, number: (row, number, 0, 0))
    return pl.pallas_call(
        partial(_backward_kernel, settings),
        grid=(rows, programs),
        in_specs=(spec, spec, *_shared_specs(residual, weights, drops), (spec, spec)),
        out_specs=(spec, spec, sums),
        out_shape=(
            residual,
            jax.ShapeDtypeStruct(update.shape, update.dtype),
            jax.ShapeDtypeStruct((rows, programs, 2, width), jnp.float32),
        ),
        **_how(settings),
    )(residual, update, weights, drops, gradients)


def _grid(x: jax.Array) -> tuple[int, int]:
    rows, tokens, _ = x.shape
    return rows, tokens // _power_in(tokens, _TOKENS)


def _power_in(number: int, most: int) -> int:
    """The highest power of two, up to `most`, that divides a number."""
    return min(number & -number, most)


def _tokens_of(x: jax.Array) -> pl.BlockSpec:
    """A program's own tokens."""
    block = (None, _power_in(x.shape[1], _TOKENS), x.shape[2])
    return pl.BlockSpec(block, lambda row, number: (row, number, 0))


def _shared_specs(x: jax.Array, weights: Weights, drops: Drops | None) -> tuple:
    """What a program sees of weights and drops: its own tokens where they have any, all columns."""
    own = pl.BlockSpec((None, _power_in(x.shape[1], _TOKENS), 1), lambda row, n: (row, n, 0))
    columns = pl.BlockSpec((None, 1, x.shape[2]), lambda row, _: (row, 0, 0))
    return jax.tree.map(lambda each: own if each.shape[2] == 1 else columns, (weights, drops))


def _how(settings: Settings) -> dict:
    # On an H200 32 tokens a program take a seventh longer, 4 at a time by 4 warps 8 %.
    params = pltriton.CompilerParams(num_warps=2, num_stages=2)
    on_gpu = settings.backend == "gpu"
    return {"compiler_params": params if on_gpu else None, "interpret": not on_gpu}


def _forward_kernel(
    settings: Settings, residual_ref, update_ref, weights: Weights, drops, long_ref, short_ref
) -> None:
    chunks = _chunks(residual_ref)

    def some(tokens, _):
        summed = [_sum(settings, residual_ref, update_ref, drops, tokens, at)[0] for at in chunks]
        centred, inverse = _centred(settings, summed)
        for x, at in zip(centred, chunks, strict=True):
            y = weights.scale[:, at] * inverse * x + weights.offset[:, at]
            long_ref[tokens, at] = y
            short_ref[tokens, at] = y.astype(short_ref.dtype)
        return 0

    _over_tokens(residual_ref, some, 0)


def _backward_kernel(
    settings: Settings,
    residual_ref,
    update_ref,
    weights: Weights,
    drops,
    gradient_refs,
    residual_gradient_ref,
    update_gradient_ref,
    sums_ref,
) -> None:
    """The gradients of y = scale z + offset, with z the sum, centred and over its deviation."""
    long_ref, short_ref = gradient_refs
    chunks = _chunks(residual_ref)

    def some(tokens, sums):
        # All that is read is asked for before any of it is waited for.
        both = [_sum(settings, residual_ref, update_ref, drops, tokens, at) for at in chunks]
        gradients = [
            long_ref[tokens, at] + short_ref[tokens, at].astype(jnp.float32) for at in chunks
        ]
        centred, inverse = _centred(settings, [x for x, _ in both])
        normed = [x * inverse for x in centred]
        of_normed = [g * weights.scale[:, at] for g, at in zip(gradients, chunks, strict=True)]
        mean = _mean(of_normed)
        along = _mean([g * z for g, z in zip(of_normed, normed, strict=True)])
        for g, z, (_, keep), at in zip(of_normed, normed, both, chunks, strict=True):
            gradient = inverse * (g - mean - z * along)
            residual_gradient_ref[tokens, at] = gradient
            if keep is not None:
                gradient = jnp.where(keep, gradient * keep_scale(settings.dropout_rate), 0.0)
            update_gradient_ref[tokens, at] = gradient.astype(update_gradient_ref.dtype)
        # Sums over tokens go through all warps: they are left for the end.
        more = [(g * z, g) for g, z in zip(gradients, normed, strict=True)]
        return jax.tree.map(jnp.add, sums, more)

    zeros = [(jnp.zeros((_at_once(residual_ref), at.size)),) * 2 for at in chunks]
    sums = _over_tokens(residual_ref, some, zeros)
    for (scale_sum, offset_sum), at in zip(sums, chunks, strict=True):
        sums_ref[0, at] = scale_sum.sum(axis=0)
        sums_ref[1, at] = offset_sum.sum(axis=0)


def _over_tokens(ref, some: Callable, carried: Any) -> Any:
    """Go through a program's tokens, a few at a time. Unrolled it would take long to compile."""
    at_once = _at_once(ref)

    def step(number, carried):
        return some(pl.ds(pl.multiple_of(number * at_once, at_once), at_once), carried)

    return jax.lax.fori_loop(0, ref.shape[0] // at_once, step, carried)


def _at_once(ref) -> int:
    return min(ref.shape[0], _AT_ONCE)


def _chunks(ref) -> list:
    """What the width is cut into."""
    width = ref.shape[1]
    columns = _power_in(width, _COLUMNS)
    return [pl.ds(begin, columns) for begin in range(0, width, columns)]


def _sum(settings: Settings, residual_ref, update_ref, drops, tokens, at):
    """residual + dropout(update), float32; and what dropout keeps."""
    update, keep = update_ref[tokens, at].astype(jnp.float32), None
    if drops is not None:
        bits = bits_of(drops.tokens[tokens, :], drops.columns[:, at])
        keep = kept(bits, settings.dropout_rate)
        update = jnp.where(keep, update * keep_scale(settings.dropout_rate), 0.0)
    return residual_ref[tokens, at] + update, keep


def _centred(settings: Settings, chunks: list[jax.Array]) -> tuple[list[jax.Array], jax.Array]:
    """Rows less their means, and one over their deviations."""
    mean = _mean(chunks)
    centred = [x - mean for x in chunks]
    variance = _mean([x * x for x in centred])
    return centred, jax.lax.rsqrt(variance + settings.eps)


def _mean(chunks: list[jax.Array]) -> jax.Array:
    """The mean over all columns, [C, 1]."""
    sums = [x.sum(axis=1, keepdims=True) for x in chunks]
    return sum(sums[1:], sums[0]) * (1.0 / sum(x.shape[1] for x in chunks))
