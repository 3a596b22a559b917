import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.precision import dense_product
from bertjax.models.slices import add_slices


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((16, 5), (0,), (2, 5)),
        ((8, 16), (0, 1), (1, 16)),
        ((11, 16), (0, 1), (11, 2)),
        ((16, 24), (1, 0), (16, 3)),
        ((11, 16), (0,), (11, 16)),
        ((9, 3), (0, 1), (9, 3)),
        ((16,), (0,), (16,)),
        ((), (0, 1), ()),
    ],
)
def test_slices_have_the_sum_of_all_entries_along_their_axis(shape, axes, expected):
    x = normal(*shape)
    found = jax.jit(add_slices, static_argnums=1)(x, axes)
    assert found.shape == expected
    if found.shape == x.shape:
        np.testing.assert_array_equal(found, x)
        return
    axis = next(axis for axis in (0, 1) if found.shape[axis] != x.shape[axis])
    sums = x.astype(np.float64).sum(axis)
    np.testing.assert_allclose(found.sum(axis), sums, rtol=1e-5, atol=1e-5)


def test_slices_of_an_array_on_several_devices_are_added_where_they_lie():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size > 1
    x = jax.device_put(normal(64, 16), NamedSharding(mesh, PartitionSpec("data")))
    text: Any = jax.jit(lambda x: add_slices(x, (0,))).lower(x).compile().as_text()
    for travels in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert travels not in text


def test_a_bias_takes_its_gradient_without_all_rows_in_float32():
    """XLA's own sum would first write [64, 48] in float32."""

    def loss(w, b, x):
        return jnp.sin(dense_product(x, w, b, "bfloat16")).sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    x, w, b = normal(64, 32), normal(32, 48), normal(48)
    text: Any = gradient.lower(w, b, x).compile().as_text()
    entry = text[text.index("ENTRY ") :]
    written = re.findall(r"= (\w+\[[\d,]*\])\S* (?:fusion|convert|reduce-window)\(", entry)
    assert "bf16[64,48]" in written
    # The product that the derivative is taken of, and nothing besides.
    assert written.count("f32[64,48]") == 1
