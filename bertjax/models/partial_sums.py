"""Sums of eight rows, or columns, of a matrix each: an eighth is left to sum. For processors.

XLA's CPU backend writes out in float32 what a reduction reads, be it squares or a matrix in
bfloat16, and then reduces it in a call of its own. Partial sums are one loop, and it takes in what
precedes them: which is computed again for each use, so it must be cheap, or behind a barrier.
"""

from collections.abc import Sequence

import jax

PARTS = 8


def partial_sums(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """Sums of eight rows, or of eight columns, of a matrix; any other array is returned as it is.

    The eight are neighbours: an array that is split over devices stays where it is, if each has a
    multiple of eight.

    Args:
        x: [n, m].
        axes: the first of these, 0 or 1, whose length is a multiple of eight is summed over: the
            result is [n / 8, m] or [n, m / 8]. Where none is, it is x.
    """
    axis = next((axis for axis in axes if x.ndim == 2 and x.shape[axis] % PARTS == 0), None)
    if axis is None:
        return x
    n, m = x.shape
    if axis == 0:
        parts = [x.reshape(n // PARTS, PARTS, m)[:, i] for i in range(PARTS)]
    else:
        parts = [x.reshape(n, m // PARTS, PARTS)[..., i] for i in range(PARTS)]
    return sum(parts[1:], parts[0])
