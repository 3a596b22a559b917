"""Dropout (Srivastava et al. 2014) whose mask is a hash of the key and of each entry's position.

A hash of counters costs a few operations an entry and fuses with what surrounds it, where the bits
of `jax.random` go through memory. It needs no word from another device, so a mask is the same
however the array is split.
"""

import math
from collections.abc import Iterable

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np


def dropout(x: jax.Array, rate: float) -> jax.Array:
    """Zero each entry with probability `rate` and scale the others up; no key, no dropout.

    The rate is rounded to a multiple of 2^-32 and the scale is that of the rounded rate, so that
    the expectation is exact.
    """
    key = hk.maybe_next_rng_key()
    if key is None or rate == 0.0:
        return x
    return jnp.where(kept(random_bits(key, x.shape), rate), x * scale(rate), 0.0)


def kept(bits: jax.Array, rate: float) -> jax.Array:
    """Whether an entry that draws these 32 bits is kept, bool."""
    return bits < np.uint32(_kept_draws(rate))


def scale(rate: float) -> float:
    """What a kept entry is multiplied by."""
    return 2**32 / max(_kept_draws(rate), 1)


def _kept_draws(rate: float) -> int:
    """Of 2^32."""
    return min(round((1.0 - rate) * 2**32), 2**32 - 1)


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """32 random bits an entry, uint32.

    Args:
        key: one that was split off another: its words are random already, and are used as they are.
    """
    return hashed(positions(shape), key_words(key))


def positions(shape: tuple[int, ...]) -> jax.Array:
    """The place of each entry in row-major order, modulo 2^32, uint32."""
    places = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = np.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        places += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return places


def key_words(key: jax.Array) -> jax.Array:
    """The words of a key, uint32 [W]."""
    return jax.random.key_data(key).reshape(-1)


def hashed(positions: jax.Array, words: Iterable[jax.Array]) -> jax.Array:
    """The random bits of positions under a key of these words, uint32."""
    # A round for each word: after one alone, two keys would draw the same bits in another order.
    bits = positions
    for word in words:
        bits = _mix(bits ^ word)
    return bits


def _mix(x: jax.Array) -> jax.Array:
    """A permutation of the 32-bit words that leaves no pattern (lowbias32, Wellons 2018)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
