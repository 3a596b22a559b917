"""The kernels of flash attention, forward and backward, in Pallas for GPUs and TPUs.

Of the scores they hold a tile at a time (Dao et al. 2022; Dao 2023). Forward, sums over the keys so
far are rescaled as higher scores come. Backward, probabilities are computed again, from the
logarithms of their sums, and so is the mask of dropout. Exponentials and logarithms are of base 2.

B rows, N heads, K width of a head, T tokens a row, P of them a program's own, C taken at a time.

A tile is P x C: its first axis is what the program accumulates for, its second what it goes
through. So sums over keys stay within a warp of a GPU, and weights are multiplied from registers.
What a token has one of is therefore read as a column [T, 1] or as a row [1, T].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as pltriton

from bertjax.models.dropout import bits_of, kept, scale

_LOWEST = float(jnp.finfo(jnp.float32).min)  # below every score but that of a hidden key, -inf
_LOG2_E = math.log2(math.e)


class Tile(NamedTuple):
    """How the work is cut, and how Triton compiles it."""

    own: int  # P
    others: int  # C
    warps: int = 4
    stages: int = 3


_FORWARD, _BACKWARD = Tile(64, 64), Tile(64, 64)  # on a GPU


@dataclass(frozen=True)
class Settings:
    """What a kernel is compiled for, besides shapes and types."""

    tokens: int  # a row without padding
    dropout_rate: float
    backend: str  # gpu, tpu, or cpu, where Pallas's interpreter runs the kernel

    @property
    def forward_tile(self) -> Tile:
        return self._tile(_FORWARD)

    @property
    def backward_tile(self) -> Tile:
        return self._tile(_BACKWARD)

    def _tile(self, tile: Tile) -> Tile:
        """A TPU's has its lanes; Triton's are powers of two, 16 at least, no longer than a row."""
        if self.backend == "tpu":
            return Tile(128, 128)
        most = max(16, pl.next_power_of_2(self.tokens))
        return tile._replace(own=min(tile.own, most), others=min(tile.others, most))

    @property
    def multiple(self) -> int:
        """Of which T is one."""
        return max(*self.forward_tile[:2], *self.backward_tile[:2])

    @property
    def tokens_first(self) -> bool:
        """Whether heads lie as a product leaves them, [B, T, 3, N, K]; else [B, 3, N, T, K].

        A TPU reads blocks of the last two axes.
        """
        return self.backend != "tpu"


class Forms(NamedTuple):
    """A value a token, for a kernel to broadcast over either axis of a tile."""

    row: jax.Array  # [..., 1, T]
    column: jax.Array | None  # [..., T, 1]; None on a TPU, which would keep 128 lanes of it

    @classmethod
    def of(cls, settings: Settings, x: jax.Array) -> "Forms":
        return cls(x[..., None, :], x[..., :, None] if settings.tokens_first else None)


class Masks(NamedTuple):
    """Who sees whom: those of the same segment."""

    queries: Forms  # int32 [B, T]: their segments
    keys: Forms  # the same, but -1 for padding, which nobody sees


class Drops(NamedTuple):
    """What dropout makes its bits of."""

    queries: Forms  # uint32 [B, N, T]: hashed rows
    keys: Forms  # uint32 [B, T]: hashed columns, the same in each row


class Slopes(NamedTuple):
    """What the backward kernel reads besides."""

    log_sums: Forms  # float32 [B, N, T], from forward
    means: Forms  # float32 [B, N, T]: of a query's probabilities' slopes, weighted by these


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
    attended, log_sums = _run(_forward_kernel, *how, heads, (), (masks, drops), outputs)
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
    return _run(_backward_kernel, *how, heads, (gradient,), (masks, drops, slopes), outputs)[0]


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


def _forward_kernel(
    settings: Settings, tile: Tile, heads, others, attended_ref, log_sums_ref
) -> None:
    """P queries, over all keys."""
    (query_ref, key_ref, value_ref), (spans, masks, drops) = heads, others
    width = query_ref.shape[-1]
    own = _span(pl.program_id(2), tile.own)
    query, segments = query_ref[own, :], _column(masks.queries, own)

    def add(number, sums):
        attended, total, highest = sums  # [P, K], [P, 1], [P, 1]
        at = _span(number, tile.others)
        scores = _product(query, 1, key_ref[at, :], 1) * _unit(width)
        scores = jnp.where(segments == masks.keys.row[:, at], scores, -jnp.inf)
        before, highest = highest, jnp.maximum(highest, scores.max(axis=1, keepdims=True))
        shrink = jnp.exp2(before - highest)
        weights = jnp.exp2(scores - highest)
        total = total * shrink + weights.sum(axis=1, keepdims=True)
        keep = _keep_of_keys(settings, drops, own, at)
        if keep is not None:
            weights = jnp.where(keep, weights, 0.0)
        return attended * shrink + _product(weights, 1, value_ref[at, :], 0), total, highest

    column = (tile.own, 1)
    sums = (jnp.zeros((tile.own, width)), jnp.zeros(column), jnp.full(column, _LOWEST))
    attended, total, highest = _over_seen(spans, add, sums)
    total = jnp.where(total > 0, total, 1.0)  # a query that sees nothing gets zeros
    attended = attended * (scale(settings.dropout_rate) / total)
    attended_ref[...] = attended.astype(attended_ref.dtype)
    log_sums = highest + jnp.log2(total)
    log_sums_ref[...] = log_sums if settings.tokens_first else _turned(log_sums)[:1]


def _backward_kernel(settings: Settings, tile: Tile, heads, others, gradient_ref) -> None:
    """P keys, over all queries; then as many queries, over all keys.

    Each tile is computed twice, for no two programs to add to the same gradient.
    """
    query_ref, key_ref, value_ref, attended_ref = heads
    spans, masks, drops, slopes = others
    width = query_ref.shape[-1]
    own, zeros = _span(pl.program_id(2), tile.own), jnp.zeros((tile.own, width))

    key, value, segments = key_ref[own, :], value_ref[own, :], _column(masks.keys, own)

    def add_queries(number, sums):
        key_slope, value_slope = sums
        at = _span(number, tile.others)
        query, attended = query_ref[at, :], attended_ref[at, :]
        weights, score_slopes = _tile(
            settings,
            _product(key, 1, query, 1) * _unit(width),
            segments == masks.queries.row[:, at],
            slopes.log_sums.row[:, at],
            _product(value, 1, attended, 1),
            slopes.means.row[:, at],
            _keep_of_queries(settings, drops, own, at),
        )
        key_slope += _product(score_slopes, 1, query, 0)
        return key_slope, value_slope + _product(weights, 1, attended, 0)

    key_slope, value_slope = _over_seen(spans, add_queries, (zeros, zeros))
    _put(settings, gradient_ref, 1, key_slope * width**-0.5)
    _put(settings, gradient_ref, 2, value_slope * scale(settings.dropout_rate))

    own_query, own_attended = query_ref[own, :], attended_ref[own, :]
    own_segments = _column(masks.queries, own)
    log_sums, means = _column(slopes.log_sums, own), _column(slopes.means, own)

    def add_keys(number, query_slope):
        at = _span(number, tile.others)
        other_key = key_ref[at, :]
        _, score_slopes = _tile(
            settings,
            _product(own_query, 1, other_key, 1) * _unit(width),
            own_segments == masks.keys.row[:, at],
            log_sums,
            _product(own_attended, 1, value_ref[at, :], 1),
            means,
            _keep_of_keys(settings, drops, own, at),
        )
        return query_slope + _product(score_slopes, 1, other_key, 0)

    query_slope = _over_seen(spans, add_keys, zeros)
    _put(settings, gradient_ref, 0, query_slope * width**-0.5)


def _tile(settings: Settings, scores, sees, log_sums, weight_slopes, means, keep):
    """The probabilities that are kept, yet to be scaled, and the slopes of scores; [P, C]."""
    scores = jnp.where(sees, scores, -jnp.inf)
    weights = probabilities = jnp.exp2(scores - log_sums)
    if keep is not None:
        weights = jnp.where(keep, probabilities, 0.0)
        weight_slopes = jnp.where(keep, weight_slopes * scale(settings.dropout_rate), 0.0)
    return weights, probabilities * (weight_slopes - means)


def _keep_of_keys(settings: Settings, drops: Drops | None, own, at) -> jax.Array | None:
    """What dropout keeps of a tile, bool [P, C], where queries are the program's own."""
    if drops is None:
        return None
    bits = bits_of(_column(drops.queries, own), drops.keys.row[:, at])
    return kept(bits, settings.dropout_rate)


def _keep_of_queries(settings: Settings, drops: Drops | None, own, at) -> jax.Array | None:
    """The same where keys are its own."""
    if drops is None:
        return None
    bits = bits_of(drops.queries.row[:, at], _column(drops.keys, own))
    return kept(bits, settings.dropout_rate)


def _column(form: Forms, own) -> jax.Array:
    """Of a program's own tokens, [P, 1]; or the same in each column, [P, P]."""
    return _turned(form.row[:, own]) if form.column is None else form.column[own, :]


def _turned(x: jax.Array) -> jax.Array:
    """A row [1, P], or a column [P, 1], as the other: [P, P], the same in each column, or row."""
    side = max(x.shape)
    return jnp.broadcast_to(x, (side, side)).T


def _over_seen(spans, add: Callable, sums: Any) -> Any:
    """Add up over the tiles of others that this program's own tokens see any of."""
    number = pl.program_id(2)
    return jax.lax.fori_loop(spans[number, 0], spans[number, 1], add, sums)


def _put(settings: Settings, ref, which: int, x: jax.Array) -> None:
    x = x.astype(ref.dtype)
    if settings.tokens_first:
        ref[:, which, :] = x
    else:
        ref[which, :, :] = x


def _span(number: jax.Array, side: int):
    return pl.ds(pl.multiple_of(number * side, side), side)


def _unit(width: int) -> float:
    """Of scores, whose powers of 2 then are the softmax's of e."""
    return _LOG2_E * width**-0.5


def _product(a: jax.Array, a_axis: int, b: jax.Array, b_axis: int) -> jax.Array:
    """The sum over an axis of each: in float32, of operands of the type of `b`."""
    precision = jax.lax.Precision.HIGHEST if b.dtype == jnp.float32 else None
    axes = (((a_axis,), (b_axis,)), ((), ()))
    a = a.astype(b.dtype)
    return jax.lax.dot_general(a, b, axes, precision, preferred_element_type=jnp.float32)
