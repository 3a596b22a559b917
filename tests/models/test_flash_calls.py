"""Tiles and what they see; what the kernels compute is tested in test_flash_attention.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.flash_calls import _spans
from bertjax.models.flash_kernels import Settings, Tile


@pytest.mark.parametrize(
    ("backend", "tokens", "side"),
    [
        ("tpu", 17, 128),  # lanes, of which a tile may begin at multiples only
        ("tpu", 512, 128),
        ("gpu", 5, 16),  # what Triton multiplies at least
        ("gpu", 17, 32),
        ("gpu", 512, 64),
    ],
)
def test_tiles_are_of_a_size_that_the_compiler_takes(backend, tokens, side):
    settings = Settings(tokens, 0.0, backend, 64)
    assert settings.tile[:2] == (side, side)
    assert settings.multiple == side


def test_tiles_that_see_nothing_of_each_other_are_passed_over():
    segments = jnp.asarray([[1] * 5 + [2] * 6 + [3] * 3 + [0] * 18, [1] * 32, [0] * 32])
    spans = np.asarray(_spans(segments, Tile(own=8, others=4)))
    # Tokens 0 to 7 are of segments 1 and 2, 8 to 15 of 2, 3 and padding, the others padding.
    np.testing.assert_array_equal(spans[0], [[0, 3], [1, 4], [0, 0], [0, 0]])
    np.testing.assert_array_equal(spans[1], [[0, 8]] * 4)
    np.testing.assert_array_equal(spans[2], [[0, 0]] * 4)
