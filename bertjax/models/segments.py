"""What follows from `segment_ids` [B, T]: 0 is padding, 1..n the n-th sequence packed in the row.

An attention mask of zeros and ones is the case n = 1.

B rows, T tokens a row, S packed sequences a row, D width.
"""

import jax
import jax.numpy as jnp


def visible(segment_ids: jax.Array) -> jax.Array:
    """Which key each query sees: its own sequence's. [B, T] -> bool [B, T, T] (query, key).

    Padding queries see every real token, as transformers' do; nothing sees padding.
    """
    query, key = segment_ids[:, :, None], segment_ids[:, None, :]
    return (key > 0) & ((query == key) | (query == 0))


def positions(segment_ids: jax.Array) -> jax.Array:
    """Position of each token in its own sequence, from 0. [B, T] -> int32 [B, T].

    Padding has 0 and does not count on: it may be longer than a model has positions.
    """
    index = jnp.arange(segment_ids.shape[1], dtype=jnp.int32)
    before = jnp.pad(segment_ids, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    starts = jnp.where(segment_ids != before, index, 0)
    return jnp.where(segment_ids > 0, index - jax.lax.cummax(starts, axis=1), 0)


def members(segment_ids: jax.Array, max_segments: int) -> jax.Array:
    """Whether a token belongs to a sequence. [B, T] -> bool [B, S, T]."""
    numbers = jnp.arange(1, max_segments + 1, dtype=segment_ids.dtype)
    return segment_ids[:, None, :] == numbers[None, :, None]


def first_tokens(segment_ids: jax.Array, max_segments: int) -> jax.Array:
    """Where each sequence begins. [B, T] -> int [B, S]; an absent one where its row does."""
    return jnp.argmax(members(segment_ids, max_segments), axis=2)


def take_tokens(x: jax.Array, tokens: jax.Array) -> jax.Array:
    """What x [B, T, ...] has for some tokens of each row, int [B, Q]. [B, Q, ...]."""
    return jnp.take_along_axis(x, jnp.expand_dims(tokens, range(2, x.ndim)), axis=1)


def mean_tokens(x: jax.Array, segment_ids: jax.Array, max_segments: int) -> jax.Array:
    """Each sequence's mean token. [B, T, D] -> [B, S, D]; absent sequences get zeros."""
    mask = members(segment_ids, max_segments).astype(x.dtype)
    total = jnp.einsum("bst,btd->bsd", mask, x, precision=jax.lax.Precision.HIGHEST)
    return total / jnp.maximum(mask.sum(axis=2), 1.0)[:, :, None]
