"""The jaxlib at hand computes right numbers: one release is known not to, on CPU."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np


def test_a_mapped_sum_of_squares_is_right():
    """jaxlib 0.10.2 fuses this reduction wrongly."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((64, 48)).astype(np.float32)
    rows = generator.standard_normal((32, 48)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.asarray(matrix) @ row) ** 2)))(rows)
    expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(axis=1)
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    assert error < 1e-5, (
        f"jaxlib {jaxlib.__version__} computes this wrongly (relative error {error:.1e}): set "
        "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=-reduce, or use jaxlib 0.10.1"
    )
