"""Calls of the kernels of flash attention: how arrays are cut into what each program sees.

B rows, N heads, K width of a head, T tokens a row, P of them a program's own, C taken at a time.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as pltriton

from bertjax.models.flash_kernels import (
    Drops,
    Masks,
    Residuals,
    Settings,
    Tile,
    backward_kernel,
    forward_kernel,
)


def forward(
    settings: Settings, heads: jax.Array, masks: Masks, drops: Drops | None
) -> tuple[jax.Array, jax.Array]:
    """The attended values [B, T, N, K] and the log-sum-exp of scores, of base 2, [B, N, T].

    Args:
        heads: queries, keys and values, [B, T, 3, N, K], N a multiple of `settings.heads_at_once`.
        drops: None: no dropout.
    """
    rows, tokens, _, count, width = heads.shape
    own = settings.tile.own
    if settings.in_lanes:
        shape, block = (rows, tokens, count * width), (None, own, _lanes_of(settings))
        spec = pl.BlockSpec(block, lambda row, group, number: (row, number, group))
        form, block = (rows, count, 1, tokens), (None, settings.heads_at_once, 1, own)
        lse_spec = pl.BlockSpec(block, lambda row, group, number: (row, group, 0, number))
    else:
        shape, block = (rows, tokens, count, width), (None, own, None, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, number, head, 0))
        form, block = (rows, count, tokens, 1), (None, None, own, 1)
        lse_spec = pl.BlockSpec(block, lambda row, head, number: (row, head, number, 0))
    outputs = [
        (spec, jax.ShapeDtypeStruct(shape, heads.dtype)),
        (lse_spec, jax.ShapeDtypeStruct(form, jnp.float32)),
    ]
    attended, lse = _run(forward_kernel, settings, heads, None, (masks, drops), outputs)
    return attended.reshape(rows, tokens, count, width), lse.reshape(rows, count, tokens)


def backward(
    settings: Settings,
    heads: jax.Array,
    masks: Masks,
    drops: Drops | None,
    attended_gradient: jax.Array,
    residuals: Residuals,
) -> jax.Array:
    """The gradient of heads [B, T, 3, N, K], from that of what forward attended [B, T, N, K]."""
    rows, tokens, _, count, width = heads.shape
    own = settings.tile.own
    if settings.in_lanes:
        shape, block = (rows, 3, tokens, count * width), (None, 3, own, _lanes_of(settings))
        spec = pl.BlockSpec(block, lambda row, group, number: (row, 0, number, group))
    else:
        shape, block = heads.shape, (None, own, 3, None, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, number, 0, head, 0))
    outputs = [(spec, jax.ShapeDtypeStruct(shape, heads.dtype))]
    others = masks, drops, residuals
    (found,) = _run(backward_kernel, settings, heads, attended_gradient, others, outputs)
    # By lanes the three parts of a head lie apart, and a program writes one block.
    return found.transpose(0, 2, 1, 3).reshape(heads.shape) if settings.in_lanes else found


def _lanes_of(settings: Settings) -> int:
    return settings.heads_at_once * settings.width


def _run(
    kernel: Callable,
    settings: Settings,
    heads: jax.Array,
    attended_gradient: jax.Array | None,
    others: tuple,
    outputs: list,
):
    """A program for each P tokens of each head, or few: it sees all that the head has."""
    rows, tokens, _, count, width = heads.shape
    together, lanes = settings.heads_at_once, _lanes_of(settings)
    tile = settings.tile
    spans = _spans(others[0].queries.row[:, 0], tile)

    def whole(x, memory_space=None) -> pl.BlockSpec:
        """A block of [B, N, ...] or [B, ...]: all but the last two axes are the program's own."""
        taken = (None, together if settings.in_lanes else None)[: x.ndim - 2]

        def at(row, head, _):
            return *(row, head)[: x.ndim - 2], 0, 0

        return pl.BlockSpec((*taken, *x.shape[-2:]), at, memory_space=memory_space)

    def part(which: int) -> pl.BlockSpec:
        if settings.in_lanes:
            groups = count // together
            where = which * groups
            block = (None, tokens, lanes)
            return pl.BlockSpec(block, lambda row, group, _: (row, 0, where + group))
        block = (None, tokens, None, None, width)
        return pl.BlockSpec(block, lambda row, head, _: (row, 0, which, head, 0))

    arrays, specs = [heads] * 3, [part(which) for which in range(3)]
    if attended_gradient is not None:
        one_part = pl.BlockSpec((None, tokens, None, width), lambda row, head, _: (row, 0, head, 0))
        arrays.append(attended_gradient)
        specs.append(part(0) if settings.in_lanes else one_part)
    if settings.in_lanes:
        arrays = [x.reshape(rows, tokens, -1) for x in arrays]
    # A TPU has a memory for scalars.
    scalars = whole(spans, pltpu.SMEM if settings.in_lanes else None)
    return pl.pallas_call(
        partial(kernel, settings),
        grid=(rows, count // together, tokens // tile.own),
        in_specs=(specs, (scalars, *jax.tree.map(whole, others))),
        out_specs=[spec for spec, _ in outputs],
        out_shape=[shape for _, shape in outputs],
        compiler_params=_compiler_params(settings, tile),
        interpret=settings.backend == "cpu",
    )(arrays, (spans, *others))


def _spans(segments: jax.Array, tile: Tile) -> jax.Array:
    """The first tile of others that any of a program's own sees, and the one after the last.

    int32 [B, T / P, 2] from int32 [B, T]. Of tiles whose segments, as ranges of numbers, have none
    in common, none sees the other.
    """

    def ranges(side: int) -> tuple[jax.Array, jax.Array]:
        tiles = segments.reshape(len(segments), -1, side)
        first = jnp.where(tiles > 0, tiles, jnp.iinfo(tiles.dtype).max).min(axis=2)
        return first, tiles.max(axis=2)

    first, last = (x[:, :, None] for x in ranges(tile.own))
    others_first, others_last = (x[:, None] for x in ranges(tile.others))
    seen = (first <= others_last) & (others_first <= last)  # [B, T / P, T / C]
    begin = jnp.argmax(seen, axis=2)
    end = jnp.where(seen.any(axis=2), seen.shape[2] - jnp.argmax(seen[:, :, ::-1], axis=2), begin)
    return jnp.stack([begin, end], axis=2).astype(jnp.int32)


def _compiler_params(settings: Settings, tile: Tile):
    if settings.backend == "gpu":
        return pltriton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages)
    if settings.backend == "tpu":
        return pltpu.CompilerParams(dimension_semantics=("parallel",) * 3)
    return None
