"""A step whose parameters and optimizer state are split over devices is the step of one device."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from bertjax.errors import UserError
from bertjax.training.configs import MeshShape
from bertjax.training.loop import LoopConfig, fit
from bertjax.training.losses import Sums, classification_loss
from bertjax.training.mesh import make_mesh, replicated, shardings
from bertjax.training.parallel import make_runner
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import init_state

ADAM = optax.adam(1e-2, eps=1e-3)  # a large eps: else rounding noise moves a parameter as any other


@pytest.fixture(scope="module")
def bert(make_bert):
    """With dropout, and most of its matrices large enough to be split."""
    return make_bert(dropout=0.1, width=64)


@pytest.fixture(scope="module")
def run_epoch(bert, sgd, texts, run_exactly):
    return lambda runner: run_exactly(runner, bert.state(sgd), texts.batches(0))


@pytest.fixture(scope="module")
def one_device(bert, sgd, run_epoch):
    return run_epoch(make_runner("jit", classification_loss(bert.apply), sgd))


@pytest.mark.parametrize("shape", [MeshShape(4, 2), MeshShape(1, 8)], ids=str)
def test_a_split_state_takes_the_steps_of_one_device(
    shape, bert, sgd, run_epoch, one_device, largest_difference
):
    """With dropout, so its masks are the same too."""
    loss = classification_loss(bert.apply)
    losses, gradients, params = run_epoch(make_runner("mesh", loss, sgd, mesh=shape))
    assert losses == pytest.approx(one_device[0], rel=1e-12)
    assert largest_difference(gradients, one_device[1]) < 1e-12
    assert largest_difference(params, one_device[2]) < 1e-12


@pytest.fixture(scope="module")
def table():
    """A loss with a large and a small parameter, and one that cannot be split; its state."""
    params = {"dense": {"w": jnp.ones((512, 16)), "b": jnp.ones(16), "odd": jnp.ones((1001, 3))}}

    def loss(params, key, batch):
        dense = params["dense"]
        y = jnp.square(batch["x"] @ dense["w"] + dense["b"]) + dense["odd"].mean()
        return Sums(y.sum(), jnp.float32(y.size))

    return loss, init_state(params, ADAM, seed=0)


BATCH = {"x": np.linspace(-1, 1, 8 * 512, dtype=np.float32).reshape(8, 512)}


def bytes_of_a_device(tree) -> int:
    """On the first device."""
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == jax.devices()[0]
    )


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize(("data", "fsdp"), [(8, 1), (4, 2), (1, 8)])
def test_a_device_holds_its_share_between_steps(data, fsdp, table):
    loss, start = table
    runner = make_runner("mesh", loss, ADAM, mesh=MeshShape(data, fsdp))
    state, batch = runner.place(start), runner.place_batch(BATCH)
    assert {shard.data.shape for shard in batch["x"].addressable_shards} == {(1, 512)}
    whole_bytes = 4 * (16 + 1001 * 3)  # a copy a device
    expected = 4 * 512 * 16 // fsdp + whole_bytes
    for _ in range(2):
        assert bytes_of_a_device(state.params) == expected
        moments = bytes_of_a_device(state.opt_state)
        assert moments == 2 * expected + 4  # means, mean squares, and the count of steps
        state, _ = runner.step(state, batch)


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize("fsdp", [1, 8])
def test_a_split_step_uses_its_state_up_and_asks_the_host_for_nothing(fsdp, table):
    loss, start = table
    runner = make_runner("mesh", loss, ADAM, mesh=MeshShape(fsdp=fsdp))
    state, batch = runner.place(start), runner.place_batch(BATCH)
    text = runner.step.lower(state, batch).compile().as_text()
    arrays = len(jax.tree.leaves((state.step, state.params, state.opt_state)))
    assert text.split("\n", 1)[0].count("may-alias") >= arrays
    assert "callback" not in text
    with jax.transfer_guard("disallow"):
        after, _ = runner.step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.opt_state)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


def test_parameters_are_gathered_again_for_the_gradient(largest_difference):
    """And not kept: the matrices of this net outweigh its activations."""
    keys = jax.random.split(jax.random.key(0), 12)
    params = {f"{i}": {"w": jax.random.normal(keys[i], (256, 256)) / 16} for i in range(12)}
    state = init_state(params, optax.sgd(0.1), seed=0)
    batch = {"x": np.linspace(-1, 1, 16 * 256, dtype=np.float32).reshape(16, 256)}

    def loss(params, key, batch):
        x = batch["x"]
        for layer in params.values():
            x = jnp.tanh(x @ layer["w"])
        return Sums(x.sum(), jnp.float32(x.size))

    def compiled(fsdp):
        mesh = MeshShape(fsdp=fsdp)
        runner = make_runner("mesh", loss, optax.sgd(0.1), mesh=mesh)
        placed = runner.place(state), runner.place_batch(batch)
        step = runner.step.lower(*placed).compile()
        gathers = step.as_text().count(" all-gather(")
        return step.memory_analysis(), gathers, runner.collect(step(*placed)[0].params)

    (copied, none, ends), (split, gathers, same_ends) = compiled(1), compiled(8)
    assert split.argument_size_in_bytes < copied.argument_size_in_bytes / 4
    assert split.temp_size_in_bytes < copied.temp_size_in_bytes * 0.6
    assert none == 0
    assert gathers >= 2 * len(params) - 1  # the first needs no gradient of its input
    assert largest_difference(same_ends, ends) < 1e-6


@pytest.mark.usefixtures("loose_promotion")
def test_collected_parts_are_whole_and_can_be_placed_again(table, assert_same_bits):
    loss, start = table
    runner = make_runner("mesh", loss, ADAM, mesh=MeshShape(2, 4))
    batch = runner.place_batch(BATCH)
    state, _ = runner.step(runner.place(start), batch)
    collected = runner.collect(state)
    assert {d for x in jax.tree.leaves(collected) for d in x.devices()} == {jax.devices()[0]}
    assert jax.tree.map(jnp.shape, collected) == jax.tree.map(jnp.shape, start)
    ends = []
    for placed in (runner.place(collected), state):
        after, _ = runner.step(placed, batch)
        ends.append(jax.device_get(runner.collect((after.params, after.opt_state))))
    assert_same_bits(*ends)


@pytest.mark.usefixtures("loose_promotion")
def test_a_resumed_run_ends_with_the_bits_of_a_straight_one(table, tmp_path, assert_same_bits):
    loss, start = table
    runner = make_runner("mesh", loss, ADAM, mesh=MeshShape(2, 4))

    def train(folder=None, cut=None):
        def batches(epoch):
            for number in range(3):
                if (epoch, number) == cut:
                    raise ZeroDivisionError
                yield {"x": BATCH["x"] * (number + 1), "segment_ids": np.ones((8, 1), np.int32)}

        snapshots = folder and Snapshots(folder, {}, every_steps=2)
        begun = runner.place(start)
        result = fit(LoopConfig(2, 3), runner, begun, batches, snapshots=snapshots)
        return jax.device_get(result.params)

    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "snapshots", cut=(1, 2))
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["4"]
    assert_same_bits(train(tmp_path / "snapshots"), train())


def test_arrays_are_split_along_their_largest_axis_that_can_be():
    mesh = make_mesh(MeshShape(2, 4))
    shapes = {
        "rows": (400, 16),
        "columns": (16, 400),
        "the other": (401, 16),
        "neither": (401, 15),
        "small": (16, 16),
        "vector": (4096,),
        "scalar": (),
    }
    arrays = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in shapes.items()}
    assert {name: sharding.spec for name, sharding in shardings(mesh, arrays).items()} == {
        "rows": PartitionSpec("fsdp"),
        "columns": PartitionSpec(None, "fsdp"),
        "the other": PartitionSpec(None, "fsdp"),
        "neither": replicated(mesh).spec,
        "small": replicated(mesh).spec,
        "vector": PartitionSpec("fsdp"),
        "scalar": replicated(mesh).spec,
    }


def test_a_mesh_has_all_devices():
    assert dict(make_mesh(MeshShape()).shape) == {"data": 8, "fsdp": 1}
    assert dict(make_mesh(MeshShape(fsdp=4)).shape) == {"data": 2, "fsdp": 4}
    with pytest.raises(UserError, match="needs 6 devices, found 8"):
        make_mesh(MeshShape(3, 2))
