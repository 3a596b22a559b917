"""Which states of a training are in memory, and for how long."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.training.loop import LoopConfig, fit
from bertjax.training.snapshots import Snapshots
from bertjax.training.steps import TrainState


@pytest.mark.parametrize("parallel", ["jit", "pmap", "mesh"])
def test_the_best_state_outlives_the_steps_after_it(parallel, bag, bag_runner, sgd, texts):
    seen = []

    def evaluate(params):
        seen.append(jax.device_get(jax.tree.map(jnp.copy, params)))
        return {"f1": -len(seen)}

    config = LoopConfig(3, texts.plan.steps, "f1")
    runner = bag_runner(parallel)
    result = fit(config, runner, runner.place(bag.state(sgd)), texts.batches, evaluate)
    assert result.best_epoch == 1
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(result.params), seen[0])
    assert (result.params["bag"]["w"] != seen[2]["bag"]["w"]).all()


def test_the_state_that_training_begins_with_is_used_up(bag, bag_runner, sgd, texts):
    """It lies in memory once, though whoever began the training still knows of it."""
    runner = bag_runner("jit")
    start = runner.place(bag.state(sgd))
    fit(LoopConfig(1, texts.plan.steps), runner, start, texts.batches)
    assert all(x.is_deleted() for x in jax.tree.leaves(start.params))


def test_going_on_from_a_snapshot_uses_it_up_too(tmp_path, bag, bag_runner, sgd, texts):
    runner, snapshots = bag_runner("jit"), Snapshots(tmp_path / "snapshots", {}, every_steps=1)

    def go(epochs: int):
        start = runner.place(bag.state(sgd))
        config = LoopConfig(epochs, texts.plan.steps)
        return start, fit(config, runner, start, texts.batches, snapshots=snapshots)

    go(1)
    start, result = go(1)
    assert result.steps == texts.plan.steps
    assert all(x.is_deleted() for x in jax.tree.leaves(start.params))


def test_the_state_is_collected_only_where_it_is_needed(tmp_path, bag, bag_runner, sgd, texts):
    """On one device it may not fit beside what lies there."""
    collected, runner = [], bag_runner("jit")

    def collect(part):
        collected.append(type(part))
        return part

    def go(epochs: int) -> None:
        snapshots = Snapshots(tmp_path / "snapshots", {}, every_steps=texts.plan.steps)
        config = LoopConfig(epochs, texts.plan.steps)
        watched = replace(runner, collect=collect)
        fit(config, watched, runner.place(bag.state(sgd)), texts.batches, snapshots=snapshots)

    go(1)
    assert collected.count(TrainState) == 1  # to write it after the last step
    go(1)
    assert collected.count(TrainState) == 2  # to read it
