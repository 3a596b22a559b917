"""Sums of a matrix's slices, for processors.

XLA's CPU backend writes out in float32 what a reduction reads, be it squares or a matrix in
bfloat16, and then reduces it in a call of its own. A sum of slices is a loop that takes in what
precedes it, and leaves an eighth to reduce.
"""

from collections.abc import Sequence

import jax

SLICES = 8


def add_slices(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """The sum of eight slices of a matrix; any other array is returned as it is.

    Each slice has entries from everywhere, so an array that is split over devices stays so.

    Args:
        x: [n, m].
        axes: the slices lie along the first of these whose length is a multiple of eight: of 0,
            and the sum is [n / 8, m], or of 1, and it is [n, m / 8]. With none, x is returned.
    """
    axis = next((axis for axis in axes if x.ndim == 2 and x.shape[axis] % SLICES == 0), None)
    if axis is None:
        return x
    n, m = x.shape
    if axis == 0:
        parts = [x.reshape(-1, SLICES, m)[:, i] for i in range(SLICES)]
    else:
        parts = [x.reshape(n, -1, SLICES)[..., i] for i in range(SLICES)]
    return sum(parts[1:], parts[0])
