"""The kernels of flash attention, forward and backward, in Pallas for GPUs and TPUs.

Of the scores they hold a tile at a time (Dao et al. 2022; Dao 2023). Forward, sums over the keys so
far are rescaled as higher scores come. Backward, probabilities are computed again, from the
logarithms of their sums, and so is the mask of dropout.

B rows, N heads, K width of a head, T tokens a row, padded to a multiple of C, W words of a key.

A tile is C keys by C queries, and tokens are the last axis: so what each query has one of is a row,
[1, C], which broadcasts over a tile, and K, which is short, does not waste the lanes of a TPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as pltriton

from bertjax.models.dropout import bits_of, hashed_columns, hashed_rows, kept, scale
from bertjax.models.segments import sees

_LOWEST = float(jnp.finfo(jnp.float32).min)  # below every score but that of a hidden key, -inf


@dataclass(frozen=True)
class Settings:
    """What a kernel is compiled for, besides shapes and types."""

    tokens: int  # a row without padding
    dropout_rate: float
    backend: str  # gpu, tpu, or cpu, where Pallas's interpreter runs the kernel

    @property
    def side(self) -> int:
        """C: a TPU's lanes; for Triton a power of two, 16 at least, and few for the registers."""
        if self.backend == "tpu":
            return 128
        return min(64, max(16, pl.next_power_of_2(self.tokens)))


class Heads(NamedTuple):
    """Of each head, [B, N, K, T]; or the gradients of these."""

    query: jax.Array
    key: jax.Array
    value: jax.Array


class Masks(NamedTuple):
    """From which a kernel knows who sees whom, and what dropout keeps."""

    query_segments: jax.Array  # int32 [B, 1, T]
    key_segments: jax.Array  # int32 [B, T, 1]: the same as a column
    starts: jax.Array  # uint32 [B, N, 1, 1]: the first of a head's rows, as dropout counts them
    words: jax.Array  # uint32 [B, 1, W]: of dropout's key, the same in each row


class Slopes(NamedTuple):
    """What the backward kernel reads besides."""

    attended: jax.Array  # [B, N, K, T]: the gradient of what forward attended
    log_sums: jax.Array  # float32 [B, N, 1, T], from forward
    means: jax.Array  # float32 [B, N, 1, T]: of a query's probabilities' slopes, weighted by these


def forward(settings: Settings, heads: Heads, masks: Masks) -> tuple[jax.Array, jax.Array]:
    """The attended values [B, N, K, T] and the logarithms of the softmax's sums [B, N, 1, T]."""
    rows, count, _, padded = heads.query.shape
    log_sums = jax.ShapeDtypeStruct((rows, count, 1, padded), jnp.float32)
    return _run(_forward_kernel, settings, (heads, masks), (heads.query, log_sums))


def backward(settings: Settings, heads: Heads, masks: Masks, slopes: Slopes) -> Heads:
    """The gradients of query, key and value."""
    return _run(_backward_kernel, settings, (heads, masks, slopes), heads)


def _run(kernel: Callable, settings: Settings, inputs: tuple, outputs: tuple) -> Any:
    """A program for each C tokens of each head: it sees all the head has and writes C columns."""
    rows, heads, _, padded = outputs[0].shape

    def whole(x) -> pl.BlockSpec:
        taken = x.ndim - 2  # axes before the last two: row and head, or row
        block = (*[None] * taken, *x.shape[-2:])
        return pl.BlockSpec(block, lambda row, head, _: (*(row, head)[:taken], 0, 0))

    def columns(x) -> pl.BlockSpec:
        block = (None, None, x.shape[2], settings.side)
        return pl.BlockSpec(block, lambda row, head, number: (row, head, 0, number))

    return pl.pallas_call(
        partial(kernel, settings),
        grid=(rows, heads, padded // settings.side),
        in_specs=jax.tree.map(whole, inputs),
        out_specs=jax.tree.map(columns, outputs),
        out_shape=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), outputs),
        compiler_params=_compiler_params(settings),
        interpret=settings.backend == "cpu",
    )(*inputs)


def _compiler_params(settings: Settings):
    if settings.backend == "gpu":
        # On an H200 8 warps take twice as long, 2 stages a fifth longer, tiles of 32 or 128 half as
        # long again and more.
        return pltriton.CompilerParams(num_warps=4, num_stages=3)
    if settings.backend == "tpu":
        return pltpu.CompilerParams(dimension_semantics=("parallel",) * 3)
    return None


def _forward_kernel(
    settings: Settings, heads: Heads, masks: Masks, attended_ref, log_sums_ref
) -> None:
    """C queries, over all keys."""
    width, padded = heads.query.shape
    side = settings.side
    queries = _queries(heads, masks, pl.program_id(2), side)

    def add(number, sums):
        attended, total, highest = sums  # [K, C], [1, C], [1, C]
        keys = _keys(heads, masks, number, side)
        scores = _scores(keys, queries)
        before, highest = highest, jnp.maximum(highest, scores.max(axis=0, keepdims=True))
        shrink = jnp.exp(before - highest)
        weights = jnp.exp(scores - highest)
        total = total * shrink + weights.sum(axis=0, keepdims=True)
        if settings.dropout_rate > 0:
            weights = jnp.where(_kept(settings, masks, keys, queries), weights, 0.0)
        return attended * shrink + _product(keys.value, 1, weights, 0), total, highest

    row = (1, side)
    sums = (jnp.zeros((width, side)), jnp.zeros(row), jnp.full(row, _LOWEST))
    attended, total, highest = jax.lax.fori_loop(0, padded // side, add, sums)
    total = jnp.where(total > 0, total, 1.0)  # a query that sees nothing gets zeros
    attended_ref[...] = (attended * (scale(settings.dropout_rate) / total)).astype(
        attended_ref.dtype
    )
    log_sums_ref[...] = highest + jnp.log(total)


def _backward_kernel(
    settings: Settings, heads: Heads, masks: Masks, slope_refs: Slopes, *gradient_refs
) -> None:
    """C keys, over all queries; then as many queries, over all keys.

    Each tile is computed twice, for no two programs to add to the same gradient.
    """
    width, padded = heads.query.shape
    side, own = settings.side, pl.program_id(2)
    query_ref, key_ref, value_ref = gradient_refs
    count, zeros = padded // side, jnp.zeros((width, side))

    def slopes_of(number):
        return jax.tree.map(lambda ref: _columns(ref, number, side), slope_refs)

    own_keys = _keys(heads, masks, own, side)

    def add_queries(number, sums):
        key_slope, value_slope = sums
        queries, slopes = _queries(heads, masks, number, side), slopes_of(number)
        weights, score_slopes = _tile(settings, masks, own_keys, queries, slopes)
        key_slope += _product(queries.query, 1, score_slopes, 1)
        return key_slope, value_slope + _product(slopes.attended, 1, weights, 1)

    key_slope, value_slope = jax.lax.fori_loop(0, count, add_queries, (zeros, zeros))
    key_ref[...] = (key_slope * width**-0.5).astype(key_ref.dtype)
    value_ref[...] = (value_slope * scale(settings.dropout_rate)).astype(value_ref.dtype)

    own_queries, own_slopes = _queries(heads, masks, own, side), slopes_of(own)

    def add_keys(number, query_slope):
        keys = _keys(heads, masks, number, side)
        _, score_slopes = _tile(settings, masks, keys, own_queries, own_slopes)
        return query_slope + _product(keys.key, 1, score_slopes, 0)

    query_slope = jax.lax.fori_loop(0, count, add_keys, zeros)
    query_ref[...] = (query_slope * width**-0.5).astype(query_ref.dtype)


class _Queries(NamedTuple):
    number: jax.Array  # of these C among those of the row
    query: jax.Array  # [K, C]
    segments: jax.Array  # [1, C]


class _Keys(NamedTuple):
    number: jax.Array
    key: jax.Array  # [K, C]
    value: jax.Array  # [K, C]
    segments: jax.Array  # [C, 1]


def _queries(heads: Heads, masks: Masks, number: jax.Array, side: int) -> _Queries:
    query, segments = (_columns(ref, number, side) for ref in (heads.query, masks.query_segments))
    return _Queries(number, query, segments)


def _keys(heads: Heads, masks: Masks, number: jax.Array, side: int) -> _Keys:
    key, value = (_columns(ref, number, side) for ref in (heads.key, heads.value))
    return _Keys(number, key, value, masks.key_segments[_span(number, side), :])


def _columns(ref, number: jax.Array, side: int) -> jax.Array:
    return ref[:, _span(number, side)]


def _span(number: jax.Array, side: int):
    return pl.ds(pl.multiple_of(number * side, side), side)


def _scores(keys: _Keys, queries: _Queries) -> jax.Array:
    """[C, C] float32."""
    scores = _product(keys.key, 0, queries.query, 0) * keys.key.shape[0] ** -0.5
    return jnp.where(sees(queries.segments, keys.segments), scores, -jnp.inf)


def _tile(
    settings: Settings, masks: Masks, keys: _Keys, queries: _Queries, slopes: Slopes
) -> tuple[jax.Array, jax.Array]:
    """The probabilities that dropout keeps, yet to be scaled, and the slopes of scores; [C, C]."""
    weights = probabilities = jnp.exp(_scores(keys, queries) - slopes.log_sums)
    weight_slopes = _product(keys.value, 0, slopes.attended, 0)
    if settings.dropout_rate > 0:
        keep = _kept(settings, masks, keys, queries)
        weights = jnp.where(keep, probabilities, 0.0)
        weight_slopes = jnp.where(keep, weight_slopes * scale(settings.dropout_rate), 0.0)
    return weights, probabilities * (weight_slopes - slopes.means)


def _kept(settings: Settings, masks: Masks, keys: _Keys, queries: _Queries) -> jax.Array:
    """Where `dropout` would keep an entry of the probabilities [B, N, T, T] of a row unpadded.

    bool [C, C].
    """
    side, words = settings.side, [masks.words[:, i : i + 1] for i in range(masks.words.shape[1])]
    query = queries.number * side + jax.lax.broadcasted_iota(jnp.int32, (1, side), 1)
    key = keys.number * side + jax.lax.broadcasted_iota(jnp.int32, (side, 1), 0)
    rows = hashed_rows(masks.starts[...] + query.astype(jnp.uint32), words)
    columns = hashed_columns(key.astype(jnp.uint32), words)
    return kept(bits_of(rows, columns), settings.dropout_rate)


def _product(a: jax.Array, a_axis: int, b: jax.Array, b_axis: int) -> jax.Array:
    """The sum over an axis of each: in float32, of operands of the type of `a`."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    axes = (((a_axis,), (b_axis,)), ((), ()))
    b = b.astype(a.dtype)
    return jax.lax.dot_general(a, b, axes, precision, preferred_element_type=jnp.float32)
