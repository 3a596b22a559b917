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
    Settings,
    Slopes,
    Tile,
    backward_kernel,
    forward_kernel,
)


def forward(
    settings: Settings, heads: jax.Array, masks: Masks, drops: Drops | None
) -> tuple[jax.Array, jax.Array]:
    """The attended values [B, T, N, K] and the logarithms of the softmax's sums [B, N, T].

    Args:
        heads: queries, keys and values, [B, T, 3, N, K]; on a TPU all arrays of heads have T after
            N: see `Settings.tokens_first`.
        drops: None: no dropout.
    """
    rows, tokens, _, count, width = _sizes(settings, heads)
    own = settings.forward_tile.own
    if settings.tokens_first:
        shape, block = (rows, tokens, count, width), (None, own, None, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, number, head, 0))
        form, block = (rows, count, tokens, 1), (None, None, own, 1)
        sums = pl.BlockSpec(block, lambda row, head, number: (row, head, number, 0))
    else:
        shape, block = (rows, count, tokens, width), (None, None, own, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, head, number, 0))
        form, block = (rows, count, 1, tokens), (None, None, 1, own)
        sums = pl.BlockSpec(block, lambda row, head, number: (row, head, 0, number))
    outputs = [
        (spec, jax.ShapeDtypeStruct(shape, heads.dtype)),
        (sums, jax.ShapeDtypeStruct(form, jnp.float32)),
    ]
    how = settings, settings.forward_tile
    attended, log_sums = _run(forward_kernel, *how, heads, (), (masks, drops), outputs)
    return attended, log_sums.reshape(rows, count, tokens)


def backward(
    settings: Settings,
    heads: jax.Array,
    masks: Masks,
    drops: Drops | None,
    gradient: jax.Array,
    slopes: Slopes,
) -> jax.Array:
    """The gradient of heads, from that of what forward attended."""
    width, own = heads.shape[-1], settings.backward_tile.own
    if settings.tokens_first:
        block = (None, own, 3, None, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, number, 0, head, 0))
    else:
        block = (None, 3, None, own, width)
        spec = pl.BlockSpec(block, lambda row, head, number: (row, 0, head, number, 0))
    outputs = [(spec, jax.ShapeDtypeStruct(heads.shape, heads.dtype))]
    how = settings, settings.backward_tile
    return _run(backward_kernel, *how, heads, (gradient,), (masks, drops, slopes), outputs)[0]


def _sizes(settings: Settings, heads: jax.Array) -> tuple[int, ...]:
    """B, T, 3, N, K."""
    if settings.tokens_first:
        return heads.shape
    rows, three, count, tokens, width = heads.shape
    return rows, tokens, three, count, width


def _run(
    kernel: Callable,
    settings: Settings,
    tile: Tile,
    heads: jax.Array,
    attended: tuple[jax.Array, ...],
    others: tuple,
    outputs: list,
):
    """A program for each P tokens of each head: it sees all that the head has."""
    rows, tokens, _, count, width = _sizes(settings, heads)
    spans = _spans(others[0].queries.row[:, 0], tile)

    def whole(x, memory_space=None) -> pl.BlockSpec:
        taken = x.ndim - 2  # axes before the last two: row and head, or row
        block = (*[None] * taken, *x.shape[-2:])

        def at(row, head, _):
            return *(row, head)[:taken], 0, 0

        return pl.BlockSpec(block, at, memory_space=memory_space)

    def part(which: int) -> pl.BlockSpec:
        if settings.tokens_first:
            block = (None, tokens, None, None, width)
            return pl.BlockSpec(block, lambda row, head, _: (row, 0, which, head, 0))
        block = (None, None, None, tokens, width)
        return pl.BlockSpec(block, lambda row, head, _: (row, which, head, 0, 0))

    def whole_head(x) -> pl.BlockSpec:
        if settings.tokens_first:
            block = (None, tokens, None, width)
            return pl.BlockSpec(block, lambda row, head, _: (row, 0, head, 0))
        return whole(x)

    parts = part(0), part(1), part(2), *map(whole_head, attended)
    # A TPU has a memory for scalars.
    scalars = whole(spans, pltpu.SMEM if settings.backend == "tpu" else None)
    return pl.pallas_call(
        partial(kernel, settings, tile),
        grid=(rows, count, tokens // tile.own),
        in_specs=(parts, (scalars, *jax.tree.map(whole, others))),
        out_specs=[spec for spec, _ in outputs],
        out_shape=[shape for _, shape in outputs],
        compiler_params=_compiler_params(settings, tile),
        interpret=settings.backend == "cpu",
    )((heads, heads, heads, *attended), (spans, *others))


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
