"""The kernels of flash attention, forward and backward, in Pallas for GPUs and TPUs.

Of the scores they hold a tile at a time (Dao et al. 2022; Dao 2023). Forward, sums over the keys so
far are rescaled as higher scores come. Backward, probabilities are computed again, from the
logarithms of their sums, and so is the mask of dropout. Exponentials and logarithms are of base 2.

B rows, N heads, K width of a head, T tokens a row, P of them a program's own, C taken at a time.

A tile is P x C: its first axis is what the program accumulates for, its second what it goes
through. So sums over keys stay within a warp of a GPU, and weights are multiplied from registers.
What a token has one of is therefore read as a column [T, 1] or as a row [1, T].

A TPU moves 128 lanes at a time, in which 128 / K heads lie side by side. A program there has all of
them, one after another: with the lanes of the others zeroed in one operand, a product of 128 lanes
is that of a head, and its matrix unit is as wide anyway.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from bertjax.models.dropout import bits_of, keep_scale, kept

_LOWEST = float(jnp.finfo(jnp.float32).min)  # below every score but that of a hidden key, -inf
_LOG2_E = math.log2(math.e)
_LANES = 128  # of a TPU


class Tile(NamedTuple):
    """How the work is cut, and how Triton compiles it."""

    own: int  # P
    others: int  # C
    warps: int = 4
    stages: int = 3


_TILE = Tile(64, 64)  # on a GPU, in rows that are not shorter


@dataclass(frozen=True)
class Settings:
    """What a kernel is compiled for, besides shapes and types."""

    tokens: int  # a row without padding
    dropout_rate: float
    backend: str  # gpu, tpu, or cpu, where Pallas's interpreter runs the kernel
    width: int  # K

    @property
    def tile(self) -> Tile:
        """How the work of both kernels is cut.

        Triton's sides are powers of two, 16 at least, no longer than a row. A TPU's are its lanes,
        and alike: a row made a column there is [P, P].
        """
        if self.in_lanes:
            return Tile(_LANES, _LANES)
        most = max(16, pl.next_power_of_2(self.tokens))
        return _TILE._replace(own=min(_TILE.own, most), others=min(_TILE.others, most))

    @property
    def multiple(self) -> int:
        """What T is a multiple of, once rows are padded."""
        return max(self.tile.own, self.tile.others)

    @property
    def in_lanes(self) -> bool:
        """Whether heads are taken by lanes, of which a TPU reads all or none."""
        return self.backend == "tpu"

    @property
    def heads_at_once(self) -> int:
        """How many heads a program takes."""
        return max(1, _LANES // self.width) if self.in_lanes else 1


class Forms(NamedTuple):
    """A value a token, for a kernel to broadcast over either axis of a tile."""

    row: jax.Array  # [..., 1, T]
    column: jax.Array | None  # [..., T, 1]; None on a TPU, which would keep 128 lanes of it

    @classmethod
    def of(cls, settings: Settings, x: jax.Array) -> "Forms":
        return cls(x[..., None, :], None if settings.in_lanes else x[..., :, None])


class Masks(NamedTuple):
    """Who sees whom: those of the same segment."""

    queries: Forms  # int32 [B, T]: their segments
    keys: Forms  # the same, but -1 for padding, which nobody sees


class Drops(NamedTuple):
    """What dropout makes its bits of."""

    queries: Forms  # uint32 [B, N, T]: hashed rows
    keys: Forms  # uint32 [B, T]: hashed columns, the same in each row


class Residuals(NamedTuple):
    """What the backward kernel reads of each query besides (Dao et al. 2022, algorithm 4)."""

    lse: Forms  # float32 [B, N, T]: log-sum-exp of its scores, of base 2, from forward
    delta: Forms  # float32 [B, N, T]: sum over K of what it attended x the gradient of that


def forward_kernel(settings: Settings, heads, others, attended_ref, lse_ref) -> None:
    """What P queries attend, over all keys, and the log-sum-exp of their scores."""
    (query_ref, key_ref, value_ref), (spans, masks, drops) = heads, others
    tile = settings.tile
    own = _span(pl.program_id(2), tile.own)
    segments = _column(masks.queries, own)

    def of_head(head) -> None:
        lanes, drops_of_head = _lanes(settings, head), _drops_of(settings, drops, head)
        query = _alone(query_ref[own, :], lanes)

        def add(number, sums):
            attended, total, highest = sums  # [P, K or lanes], [P, 1], [P, 1]
            at = _span(number, tile.others)
            scores = _product(query, 1, key_ref[at, :], 1) * _unit(settings)
            scores = jnp.where(segments == masks.keys.row[:, at], scores, -jnp.inf)
            before, highest = highest, jnp.maximum(highest, scores.max(axis=1, keepdims=True))
            shrink = jnp.exp2(before - highest)
            weights = jnp.exp2(scores - highest)
            total = total * shrink + weights.sum(axis=1, keepdims=True)
            keep = _keep_of_keys(settings, drops_of_head, own, at)
            if keep is not None:
                weights = jnp.where(keep, weights, 0.0)
            return attended * shrink + _product(weights, 1, value_ref[at, :], 0), total, highest

        column = (tile.own, 1)
        sums = (jnp.zeros(query.shape), jnp.zeros(column), jnp.full(column, _LOWEST))
        attended, total, highest = _over_seen(spans, add, sums)
        total = jnp.where(total > 0, total, 1.0)  # a query that sees nothing gets zeros
        _put(attended_ref, attended * (keep_scale(settings.dropout_rate) / total), lanes)
        lse = highest + jnp.log2(total)
        if settings.in_lanes:
            lse_ref[head] = _turned(lse)[:1]
        else:
            lse_ref[...] = lse

    _over_heads(settings, of_head)


def backward_kernel(settings: Settings, heads, others, heads_gradient_ref) -> None:
    """The gradients of P keys and values, over all queries; then of as many queries, over all keys.

    `heads` has, besides queries, keys and values, the gradient of what was attended. Each tile is
    computed twice, for no two programs to add to the same gradient.
    """
    query_ref, key_ref, value_ref, attended_gradient_ref = heads
    spans, masks, drops, residuals = others
    tile = settings.tile
    own = _span(pl.program_id(2), tile.own)
    parts = [
        heads_gradient_ref.at[n] if settings.in_lanes else heads_gradient_ref.at[:, n]
        for n in range(3)
    ]
    segments = _column(masks.keys, own)

    def of_head(head) -> None:
        lanes, drops_of_head = _lanes(settings, head), _drops_of(settings, drops, head)
        lse_of, delta_of = _of_head(settings, residuals, head)
        key, value = _alone(key_ref[own, :], lanes), _alone(value_ref[own, :], lanes)
        zeros = jnp.zeros(key.shape)

        def add_queries(number, sums):
            key_gradient, value_gradient = sums
            at = _span(number, tile.others)
            query, attended_gradient = query_ref[at, :], attended_gradient_ref[at, :]
            weights, score_gradient = _weights_and_gradient(
                settings,
                _product(key, 1, query, 1) * _unit(settings),
                segments == masks.queries.row[:, at],
                lse_of.row[:, at],
                _product(value, 1, attended_gradient, 1),
                delta_of.row[:, at],
                _keep_of_queries(settings, drops_of_head, own, at),
            )
            key_gradient += _product(score_gradient, 1, query, 0)
            return key_gradient, value_gradient + _product(weights, 1, attended_gradient, 0)

        key_gradient, value_gradient = _over_seen(spans, add_queries, (zeros, zeros))
        _put(parts[1], key_gradient * settings.width**-0.5, lanes)
        _put(parts[2], value_gradient * keep_scale(settings.dropout_rate), lanes)

        query = _alone(query_ref[own, :], lanes)
        attended_gradient = _alone(attended_gradient_ref[own, :], lanes)
        own_segments = _column(masks.queries, own)
        lse, delta = _column(lse_of, own), _column(delta_of, own)

        def add_keys(number, query_gradient):
            at = _span(number, tile.others)
            other_key = key_ref[at, :]
            _, score_gradient = _weights_and_gradient(
                settings,
                _product(query, 1, other_key, 1) * _unit(settings),
                own_segments == masks.keys.row[:, at],
                lse,
                _product(attended_gradient, 1, value_ref[at, :], 1),
                delta,
                _keep_of_keys(settings, drops_of_head, own, at),
            )
            return query_gradient + _product(score_gradient, 1, other_key, 0)

        query_gradient = _over_seen(spans, add_keys, zeros)
        _put(parts[0], query_gradient * settings.width**-0.5, lanes)

    _over_heads(settings, of_head)


def _over_heads(settings: Settings, of_head: Callable[[Any], None]) -> None:
    """Call a function for each head of a program, by its number there."""
    if settings.heads_at_once == 1:
        of_head(0)
    else:
        jax.lax.fori_loop(0, settings.heads_at_once, lambda head, _: of_head(head), None)


def _lanes(settings: Settings, head) -> jax.Array | None:
    """Which lanes are a head's, bool [1, lanes]; None: all."""
    if settings.heads_at_once == 1:
        return None
    numbers = jax.lax.broadcasted_iota(jnp.int32, (1, _LANES), 1)
    return jax.lax.div(numbers, settings.width) == head


def _alone(x: jax.Array, lanes: jax.Array | None) -> jax.Array:
    """x with no other head's lanes. By way of float32: not all TPUs choose between bfloat16."""
    return x if lanes is None else jnp.where(lanes, x.astype(jnp.float32), 0.0).astype(x.dtype)


def _put(ref, x: jax.Array, lanes: jax.Array | None) -> None:
    """Write a head's lanes alone."""
    x = x if lanes is None else jnp.where(lanes, x, ref[...].astype(jnp.float32))
    ref[...] = x.astype(ref.dtype)


def _of_head(settings: Settings, refs: Any, head) -> Any:
    """One head of arrays that have several."""
    return jax.tree.map(lambda ref: ref.at[head], refs) if settings.in_lanes else refs


def _drops_of(settings: Settings, drops: Drops | None, head) -> Drops | None:
    return drops and drops._replace(queries=_of_head(settings, drops.queries, head))


def _weights_and_gradient(settings: Settings, scores, sees, lse, weight_gradient, delta, keep):
    """The probabilities that are kept, yet to be scaled, and the gradient of scores; [P, C]."""
    scores = jnp.where(sees, scores, -jnp.inf)
    weights = probabilities = jnp.exp2(scores - lse)
    if keep is not None:
        weights = jnp.where(keep, probabilities, 0.0)
        weight_gradient = jnp.where(keep, weight_gradient * keep_scale(settings.dropout_rate), 0.0)
    return weights, probabilities * (weight_gradient - delta)


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
    """The values of a program's own tokens, [P, 1]; or the same in each column, [P, P]."""
    return _turned(form.row[:, own]) if form.column is None else form.column[own, :]


def _turned(x: jax.Array) -> jax.Array:
    """A row [1, P], or a column [P, 1], as the other: [P, P], the same in each column, or row."""
    side = max(x.shape)
    return jnp.broadcast_to(x, (side, side)).T


def _over_seen(spans, add: Callable, sums: Any) -> Any:
    """Add up over the tiles of others that this program's own tokens see any of."""
    number = pl.program_id(2)
    return jax.lax.fori_loop(spans[number, 0], spans[number, 1], add, sums)


def _span(number: jax.Array, side: int):
    return pl.ds(pl.multiple_of(number * side, side), side)


def _unit(settings: Settings) -> float:
    """What scores are multiplied by, whose powers of 2 then are the softmax's of e."""
    return _LOG2_E * settings.width**-0.5


def _product(a: jax.Array, a_axis: int, b: jax.Array, b_axis: int) -> jax.Array:
    """The sum over an axis of each: in float32, of operands of the type of `b`."""
    precision = jax.lax.Precision.HIGHEST if b.dtype == jnp.float32 else None
    axes = (((a_axis,), (b_axis,)), ((), ()))
    a = a.astype(b.dtype)
    return jax.lax.dot_general(a, b, axes, precision, preferred_element_type=jnp.float32)
