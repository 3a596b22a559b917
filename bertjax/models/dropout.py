"""Dropout (Srivastava et al. 2014) whose mask is a hash of the key and of each entry's position.

A hash of counters costs a few operations an entry and fuses with what surrounds it, where the bits
of `jax.random` go through memory. It needs no word from another device, so a mask is the same
however the array is split.
"""

import math

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
    kept = min(round((1.0 - rate) * 2**32), 2**32 - 1)  # of 2^32 draws
    keep = random_bits(key, x.shape) < np.uint32(kept)
    return jnp.where(keep, x * (2**32 / max(kept, 1)), 0.0)


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """32 random bits an entry, uint32.

    Args:
        key: one that was split off another: its words are random already, and are used as they are.
    """
    bits = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = np.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        bits += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    # A round for each word: after one alone, two keys would draw the same bits in another order.
    for word in jax.random.key_data(key).reshape(-1):
        bits = _mix(bits ^ word)
    return bits


def _mix(x: jax.Array) -> jax.Array:
    """A permutation of the 32-bit words that leaves no pattern (lowbias32, Wellons 2018)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
