"""One step on many devices: the same function under jit, pmap or a mesh.

A runner places a state and batches, runs the step, and gives the parameters back. The batch is
split by rows over the devices; each has a copy of the parameters, unless a mesh splits them.

A mesh may span several processes (`jax.distributed`). Each calls the same functions at the same
time, with the same state and with its own share of a batch's rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.precision import has_kernels
from bertjax.process import has_glibc, without_warnings_of_xla
from bertjax.training.configs import MeshShape, Parallel
from bertjax.training.losses import Batch, Loss
from bertjax.training.mesh import FSDP, batch_sharding, gathering, make_mesh, replicated, shardings
from bertjax.training.steps import Metrics, TrainState, TrainStep, make_train_step

AXIS = "data"

# XLA's compiler for CPUs drops the barriers that hold a layer's second computation, or gathering,
# back until its gradient is due, and puts all sums over devices off to make one of them: both keep
# alive what was to be saved, so it is kept from them.
SAVE_MEMORY: dict[str, str | bool] = {
    "xla_disable_hlo_passes": "cse_barrier_expander,cpu-all-reduce-combiner"
}

# By default XLA's temporary buffers for a processor are one allocation, which glibc has mapped anew
# in each step; an allocation below its limit of 32 MB it keeps for the next. So the buffers of a
# step whose activations are small are several allocations, of so many bytes: 10 to 17 % less time,
# a quarter to a third more memory (benchmarks/AMX.md). Larger activations would be mapped anew all
# the same, and share their memory less well.
ALLOCATION = 16 * 2**20
SEVERAL_ALLOCATIONS: dict[str, str | bool] = {
    "xla_multiheap_size_constraint_per_heap": str(ALLOCATION)
}

# XLA's own products on a GPU leave a bias to a pass of its own; cuBLAS adds it on the way. On an
# H200 a bfloat16 step of BERT-base takes 2 % less time so, and compiles in three fifths of it.
PRODUCTS_WITH_BIASES: dict[str, str | bool] = {"xla_gpu_enable_triton_gemm": False}


def copied(tree):
    """The same arrays in memory of their own, where they are; nothing is compiled for it."""
    return jax.device_put(tree, may_alias=False)


@dataclass(frozen=True)
class Runner:
    """How a step runs on this machine's devices."""

    place: Callable[[TrainState], TrainState]  # a copy of the state where the step wants it
    # To where the step wants it, rows a multiple of the devices' number; waits for nothing.
    place_batch: Callable[[Batch], Batch]
    step: TrainStep  # compiled, for a placed state, which it uses up, and a placed batch
    compile: Callable[[TrainState, Batch], None]  # the step; a state that has shapes alone will do
    collect: Callable[[Any], Any]  # any part of a placed state, on one device; as long-lived as it


def make_runner(
    parallel: Parallel,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    accumulation: int = 1,
    remat: bool = False,
    mesh: MeshShape | None = None,
    largest_activation: int | None = None,
) -> Runner:
    """The runner of a kind: `jit` on the default device, `pmap` on all local ones, `mesh` on all.

    Dropout draws the same bits under `jit` and `mesh`; under `pmap` each device draws its own.

    Args:
        remat: whether the loss's model was made with it. Under `pmap` on CPUs it saves nothing.
        mesh: of `mesh`; None: each device has all parameters.
        largest_activation: of a layer in a step, in bytes: `BertConfig.largest_activation`. At most
            16 MB, under `jit` on a processor with glibc, a step keeps most of its memory for the
            next one, as with `bertjax.keep_memory`: less time, more memory. Not with `accumulation`
            or `remat`, which are to save it, nor with a compilation cache, to be set before: XLA
            cannot serialise such a step. None: memory is given back.

    Raises:
        UserError: the shape does not fit the devices.
        ValueError: `parallel` is not one of jit, pmap, mesh.
    """
    if parallel == "jit":
        keep = accumulation == 1 and _is_small(largest_activation)
        return jit_runner(make_train_step(loss, optimizer, accumulation), remat, keep)
    if parallel == "pmap":
        return pmap_runner(make_train_step(loss, optimizer, accumulation, axis_name=AXIS))
    if parallel == "mesh":
        devices = make_mesh(mesh or MeshShape())
        step = make_train_step(gathering(loss, devices), optimizer, accumulation)
        return mesh_runner(step, devices, remat)
    raise ValueError(f"parallel {parallel!r} is not one of jit, pmap, mesh")


def jit_runner(step: TrainStep, remat: bool = False, keep: bool = False) -> Runner:
    """One device, which keeps a step's memory for the next one if it is to, and can."""
    # The step uses its state up, so it must own it: the caller keeps the original.
    options = _compiler_options(remat, keep)
    jitted = jax.jit(step, donate_argnums=0, compiler_options=options)
    compiled = _Quiet(jitted) if options == SEVERAL_ALLOCATIONS else jitted

    def compile_ahead(state: TrainState, batch: Batch) -> None:
        with without_warnings_of_xla():
            jitted.lower(state, batch).compile()

    return Runner(
        copied,
        lambda batch: jax.device_put(dict(batch)),
        compiled,
        compile_ahead,
        lambda part: part,
    )


def pmap_runner(step: TrainStep) -> Runner:
    """A copy of the state a device; the step was made with `axis_name=AXIS`."""
    count = jax.local_device_count()
    mapped = jax.pmap(step, axis_name=AXIS, donate_argnums=0)
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    by_device = NamedSharding(mesh, PartitionSpec(AXIS))

    @partial(jax.jit, out_shardings=by_device)
    def stack(state: TrainState) -> TrainState:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state)

    def place(state: TrainState) -> TrainState:
        return stack(jax.device_put(state, NamedSharding(mesh, PartitionSpec())))

    def place_batch(batch: Batch) -> Batch:
        shares = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), dict(batch))
        return jax.device_put(shares, by_device)

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = mapped(state, batch)
        return state, collect(metrics)

    def collect(part):
        return jax.tree.map(lambda x: x.addressable_shards[0].data[0], part)

    def compile_ahead(state: TrainState, batch: Batch) -> None:
        """Nothing: pmap would compile again when it is called."""

    return Runner(place, place_batch, run, compile_ahead, collect)


def mesh_runner(step: TrainStep, mesh: Mesh, remat: bool = False) -> Runner:
    """A mesh from `make_mesh`, over which the compiler splits the step as state and batch are."""

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        after, metrics = step(state, batch)
        after = jax.lax.with_sharding_constraint(after, shardings(mesh, after))
        return after, jax.lax.with_sharding_constraint(metrics, replicated(mesh))

    def place(state: TrainState) -> TrainState:
        if jax.process_count() == 1:
            return jax.device_put(copied(state), shardings(mesh, state))
        return jax.jit(lambda tree: tree, out_shardings=shardings(mesh, state))(_unplaced(state))

    def place_batch(batch: Batch) -> Batch:
        rows = batch_sharding(mesh)
        if jax.process_count() == 1:
            return jax.device_put(dict(batch), rows)
        return jax.tree.map(partial(jax.make_array_from_process_local_data, rows), dict(batch))

    def collect(part):
        if jax.process_count() == 1:
            return jax.device_put(part, mesh.devices.flat[0])
        copies = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(part)
        return jax.tree.map(lambda x: x.addressable_data(0), copies)

    def compile_ahead(state: TrainState, batch: Batch) -> None:
        def shape(x, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

        compiled.lower(jax.tree.map(shape, state, shardings(mesh, state)), batch).compile()

    options = _compiler_options(remat or mesh.shape[FSDP] > 1)
    compiled = jax.jit(run, donate_argnums=0, compiler_options=options)
    return Runner(place, place_batch, compiled, compile_ahead, collect)


class _Quiet:
    """A jitted function of which XLA does not warn; what else it can do is done as it is."""

    def __init__(self, jitted: Any) -> None:
        self._jitted = jitted

    def __call__(self, *arguments: Any) -> Any:
        with without_warnings_of_xla():  # a call may compile
            return self._jitted(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jitted, name)


def _compiler_options(save_memory: bool, keep: bool = False) -> dict[str, str | bool] | None:
    if has_kernels("gpu", "bfloat16"):
        return PRODUCTS_WITH_BIASES
    if jax.default_backend() != "cpu":
        return None
    if save_memory:
        return SAVE_MEMORY
    # XLA cannot write a program of several allocations to a cache.
    return SEVERAL_ALLOCATIONS if keep and has_glibc() and not _has_compilation_cache() else None


def _is_small(largest_activation: int | None) -> bool:
    return largest_activation is not None and largest_activation <= ALLOCATION


def _has_compilation_cache() -> bool:
    config: Any = jax.config  # its settings are unknown to type checkers
    return bool(config.jax_enable_compilation_cache and config.jax_compilation_cache_dir)


def _unplaced(tree):
    """The same values on no device: jit takes them for copies of what all processes have."""

    def unplaced(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            words = jnp.asarray(np.asarray(jax.random.key_data(x)))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))
        return np.asarray(x)

    return jax.tree.map(unplaced, tree)
