"""The kernels' tiles; what the kernels compute is tested in test_flash_attention.py."""

import pytest

from bertjax.models.flash_kernels import Settings


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
    assert Settings(tokens, 0.0, backend).side == side
