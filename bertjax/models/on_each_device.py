"""Kernels on a mesh of devices: the compiler cannot divide what it does not look into."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec


def on_each_device(kernel: Callable[..., Any], *arrays: Any) -> Any:
    """Run a kernel; on each device for its rows, if arrays lie on a mesh of devices.

    All arrays that go in and come out have rows first. Where there is no equal share of rows, each
    device runs all.
    """
    first = jax.tree.leaves(arrays)[0]
    mesh = jax.typeof(first).sharding.mesh
    if not mesh.auto_axes:  # one device, or already a device's part of a mapped function
        return kernel(*arrays)
    even = len(first) % mesh.size == 0
    rows = PartitionSpec(mesh.axis_names if even else None)
    # No check: a kernel's results are not marked with the axes that they vary over.
    split = jax.shard_map(kernel, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return split(*arrays)
