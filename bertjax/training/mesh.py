"""Meshes of devices, and what lies where on them.

A mesh has two axes. The rows of a batch are split over both. Parameters and the optimizer's state
are copied along `data` and split along `fsdp`, where a device holds 1/fsdp of them and gathers each
where a step uses it (Rajbhandari et al. 2020, stage 3).
"""

import math
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.training.configs import MeshShape
from bertjax.training.losses import Batch, Loss, Sums

DATA, FSDP = "data", "fsdp"

SMALLEST_SPLIT = 1024  # entries; to gather fewer costs more time than the memory is worth


def make_mesh(shape: MeshShape) -> Mesh:
    """A mesh of all devices.

    Raises:
        UserError: there are more or fewer devices than the shape asks for.
    """
    devices = jax.devices()
    return Mesh(np.array(devices).reshape(shape.over(len(devices))), (DATA, FSDP))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that gives each device a copy."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: each device has its share of the first axis."""
    return NamedSharding(mesh, PartitionSpec((DATA, FSDP)))


def shardings(mesh: Mesh, tree):
    """A sharding for each array: over `fsdp`, along the largest axis that is a multiple of it.

    Small arrays, and those without such an axis, have a copy a device.
    """
    count = mesh.shape[FSDP]

    def of(x) -> NamedSharding:
        axes = [axis for axis, size in enumerate(x.shape) if size % count == 0]
        if not axes or math.prod(x.shape) < SMALLEST_SPLIT:
            return replicated(mesh)
        axis = max(axes, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, FSDP))

    return jax.tree.map(of, tree)


def gathering(loss: Loss, mesh: Mesh) -> Loss:
    """`loss` of split parameters: each is gathered where it is used, and again in the derivative.

    So a device works with whole parameters on its rows, and never needs all of them at once; what
    products in bfloat16 round of them is kept for the derivative.
    """
    if mesh.shape[FSDP] == 1:
        return loss

    def gather(x: jax.Array, sharding: NamedSharding) -> jax.Array:
        # Both said, here and so in the derivative, which takes these steps back: else the compiler
        # may choose to move activations, which are larger.
        return jax.lax.with_sharding_constraint(
            jax.lax.with_sharding_constraint(x, sharding), replicated(mesh)
        )

    @partial(jax.checkpoint, policy=_is_kept)
    def gathered(params, key: jax.Array | None, batch: Batch) -> Sums:
        return loss(jax.tree.map(gather, params, shardings(mesh, params)), key, batch)

    return gathered


def _is_kept(primitive, *_, **__) -> bool:
    """Whether the derivative keeps what a primitive has made: all but gathered parameters."""
    return primitive.name != "sharding_constraint"
