"""Dropout (Srivastava et al. 2014) whose mask is a hash of the key and of each entry's position.

A hash of counters costs a few operations an entry and fuses with what surrounds it, where the bits
of `jax.random` go through memory. It needs no word from another device, so a mask is the same
however the array is split.

An entry's row and its column, the last axis, are hashed under the key apart, and their product
is mixed once more without it: most of the work is then done once a row or a column, and not once an
entry.
"""

import math
from collections.abc import Sequence
from functools import partial

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

VERSION = 2  # of the hash: another one draws other bits for the same key


def dropout(x: jax.Array, rate: float) -> jax.Array:
    """Zero each entry with probability `rate` and scale the others up; no key, no dropout.

    The rate is rounded to a multiple of 2^-32 and the scale is that of the rounded rate, so that
    the expectation is exact.
    """
    key = hk.maybe_next_rng_key()
    if key is None or rate == 0.0:
        return x
    return jnp.where(kept(random_bits(key, x.shape), rate), x * keep_scale(rate), 0.0)


def kept(bits: jax.Array, rate: float) -> jax.Array:
    """Whether an entry that draws these 32 bits is kept, bool."""
    return bits < np.uint32(_kept_draws(rate))


def keep_scale(rate: float) -> float:
    """What a kept entry is multiplied by."""
    return 2**32 / max(_kept_draws(rate), 1)


def _kept_draws(rate: float) -> int:
    """How many of the 2^32 draws keep an entry."""
    return min(round((1.0 - rate) * 2**32), 2**32 - 1)


@partial(jax.jit, static_argnums=1)  # traced once a shape
def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """32 random bits an entry, uint32.

    Args:
        key: one that was split off another: its words are random already, and are used as they are.
    """
    words = key_words(key)
    *others, last = shape or (1,)
    # Behind a barrier, or the compiler would hash the row anew for each of its entries.
    rows = jax.lax.optimization_barrier(hashed_rows(flat_index((*others, 1)), words))
    columns = jax.lax.optimization_barrier(hashed_columns(flat_index((last,)), words))
    return bits_of(rows, columns).reshape(shape)


def hashed_rows(rows: jax.Array, words: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """What a row, by its number, gives to the bits of its entries, under a key of these words."""
    return _hashed(rows, words)


def hashed_columns(columns: jax.Array, words: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """What a column gives: with the words in another order, or a square would be symmetric."""
    return _hashed(columns, words[::-1])


def bits_of(row: jax.Array, column: jax.Array) -> jax.Array:
    """The random bits where a hashed row and a hashed column meet, uint32.

    A product of odd numbers is a permutation of either. Its higher bits, which `kept` compares, are
    mixed with two operations and another product: in a kernel this is all that an entry costs.
    """
    x = row * column
    return (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)


def flat_index(shape: tuple[int, ...]) -> jax.Array:
    """The place of each entry in row-major order, modulo 2^32, uint32."""
    places = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = np.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        places += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return places


def key_words(key: jax.Array) -> jax.Array:
    """The words of a key, uint32 [W]."""
    return jax.random.key_data(key).reshape(-1)


def _hashed(numbers: jax.Array, words: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Odd numbers, one for each, uint32."""
    # A round for each word: after one alone, two keys would draw the same bits in another order.
    for word in words:
        numbers = _mix(numbers ^ word)
    return numbers | np.uint32(1)


def _mix(x: jax.Array) -> jax.Array:
    """A permutation of the 32-bit words that leaves no pattern (lowbias32, Wellons 2018)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
