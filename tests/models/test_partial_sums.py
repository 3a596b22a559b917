from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.partial_sums import partial_sums


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
        ((8, 0), (0,), (1, 0)),
        ((0, 8), (1,), (0, 1)),
    ],
)
def test_partial_sums_have_the_sum_of_all_entries_along_their_axis(shape, axes, expected):
    x = normal(*shape)
    found = jax.jit(partial_sums, static_argnums=1)(x, axes)
    assert found.shape == expected
    if found.shape == x.shape:
        np.testing.assert_array_equal(found, x)
        return
    axis = next(axis for axis in (0, 1) if found.shape[axis] != x.shape[axis])
    sums = x.astype(np.float64).sum(axis)
    np.testing.assert_allclose(found.sum(axis), sums, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "stays"), [(64, True), (16, False)])
def test_an_array_stays_where_it_is_if_each_device_has_eight_rows(rows, stays):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8
    x = jax.device_put(normal(rows, 16), NamedSharding(mesh, PartitionSpec("data")))
    compiled = jax.jit(lambda x: partial_sums(x, (0,))).lower(x).compile()
    expected = np.asarray(x).reshape(-1, 8, 16).sum(axis=1)
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-5, atol=1e-5)
    text: Any = compiled.as_text()
    travels = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    assert any(word in text for word in travels) != stays
