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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

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


def forward_kernel(
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


def backward_kernel(settings: Settings, tile: Tile, heads, others, gradient_ref) -> None:
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
