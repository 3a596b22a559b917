import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.errors import UserError
from bertjax.training.configs import OptimizerConfig
from bertjax.training.loop import LoopConfig, fit
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.parallel import make_runner
from bertjax.training.snapshots import Snapshot, Snapshots
from bertjax.training.steps import TrainState

EPOCHS, STEPS = 3, 4
SETTINGS = {"seed": 7, "text": ["title", "body"], "learning_rate": 1e-3}


class CutOff(Exception):
    """What ends a run here, as a kill would."""


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture(scope="module")
def train(texts):
    """Run `fit`, cut off before a step; -> (parameters, optimizer state, history, best epoch)."""

    def train(runner, start, folder=None, cut=None, every=2, evaluate=None):
        last = []

        def step(state, batch):
            state, metrics = runner.step(state, batch)
            last[:] = [state]
            return state, metrics

        def batches(epoch):
            for number, batch in enumerate(texts.batches(epoch)):
                if cut is not None and epoch * STEPS + number == cut:
                    raise CutOff
                yield batch

        def loss(params):
            value = sum(float(jnp.square(x).sum()) for x in jax.tree.leaves(params))
            return {"loss": abs(value - start_size)}  # grows: the first epoch is the best

        start_size = sum(float(jnp.square(x).sum()) for x in jax.tree.leaves(start.params))
        snapshots = folder and Snapshots(folder, SETTINGS, every)
        config = LoopConfig(EPOCHS, texts.plan.steps, "loss", log_every=3)
        result = fit(
            config,
            replace(runner, step=step),
            runner.place(start),
            texts.batches if cut is None else batches,
            evaluate or loss,
            snapshots,
        )
        opt_state = runner.collect(last[0].opt_state)
        return jax.device_get((result.params, opt_state)), result

    return train


@pytest.fixture(scope="module")
def adamw():
    return make_optimizer(OptimizerConfig(learning_rate=0.05), EPOCHS * STEPS)


@pytest.fixture(scope="module")
def straight(train, bag, adamw):
    """(parallel) -> a runner, and what a run of it without interruption ends with."""
    made = {}

    def of(parallel):
        if parallel not in made:
            runner = make_runner(parallel, classification_loss(bag.apply), adamw)
            made[parallel] = runner, *train(runner, bag.state(adamw))
        return made[parallel]

    return of


def assert_goes_on(train, runner, start, expected, folder, cut, assert_same_bits):
    arrays, result = expected
    with pytest.raises(CutOff):
        train(runner, start, folder, cut)
    resumed_arrays, resumed = train(runner, start, folder)
    assert_same_bits(resumed_arrays, arrays)
    assert resumed.history == result.history
    assert (resumed.best, resumed.best_epoch) == (result.best, result.best_epoch)
    assert resumed.steps == result.steps == EPOCHS * STEPS


# Cut in the first epoch before and after a snapshot, right after the snapshot at the end of an
# epoch, early in the next, and in the last.
CUTS = [("jit", cut) for cut in (1, 3, 4, 5, 7, 11)] + [("pmap", 7), ("mesh", 7)]


@pytest.mark.usefixtures("loose_promotion")
@pytest.mark.parametrize(("parallel", "cut"), CUTS)
def test_a_resumed_run_ends_as_a_straight_one(
    parallel, cut, train, straight, bag, adamw, folder, assert_same_bits
):
    runner, *expected = straight(parallel)
    assert expected[1].best_epoch == 1
    assert_goes_on(train, runner, bag.state(adamw), expected, folder, cut, assert_same_bits)


def test_a_resumed_bert_ends_as_a_straight_one(
    train, bert_runner, make_bert, sgd, folder, assert_same_bits
):
    runner, start = bert_runner("mesh", 0.1), make_bert(0.1).state(sgd)
    expected = train(runner, start)
    assert_goes_on(train, runner, start, expected, folder, 7, assert_same_bits)


@pytest.mark.usefixtures("loose_promotion")
def test_a_run_may_be_cut_off_again_and_again(
    train, straight, bag, adamw, folder, assert_same_bits
):
    runner, arrays, result = straight("jit")
    for cut in (3, 5, 6, 9):
        with pytest.raises(CutOff):
            train(runner, bag.state(adamw), folder, cut, every=1)
    resumed_arrays, resumed = train(runner, bag.state(adamw), folder, every=1)
    assert_same_bits(resumed_arrays, arrays)
    assert resumed.history == result.history


@pytest.mark.usefixtures("loose_promotion")
def test_the_evaluation_of_an_epoch_that_was_cut_off_is_made_up_for(
    train, straight, bag, adamw, folder, assert_same_bits
):
    """The newest snapshot is of the last step of the first epoch, before its evaluation."""
    runner, arrays, result = straight("jit")

    def evaluate(params):
        raise CutOff

    with pytest.raises(CutOff):
        train(runner, bag.state(adamw), folder, evaluate=evaluate)
    assert newest(folder).name == str(STEPS)
    resumed_arrays, resumed = train(runner, bag.state(adamw), folder)
    assert_same_bits(resumed_arrays, arrays)
    assert resumed.history == result.history


@pytest.mark.usefixtures("loose_promotion")
def test_after_ctrl_c_a_run_goes_on_where_it_stood(
    train, straight, texts, bag, adamw, folder, assert_same_bits
):
    """Ctrl-C writes a snapshot though none was due."""
    runner, arrays, result = straight("jit")

    def step(state, batch):
        if state.step == 2:
            signal.raise_signal(signal.SIGINT)
        return runner.step(state, batch)

    config = LoopConfig(EPOCHS, STEPS, "loss")
    snapshots = Snapshots(folder, SETTINGS)
    pressed = replace(runner, step=step)
    begun = runner.place(bag.state(adamw))
    stopped = fit(config, pressed, begun, texts.batches, None, snapshots)
    assert (stopped.ending, stopped.steps) == ("interrupted", 3)
    assert newest(folder).name == "3"
    resumed_arrays, resumed = train(runner, bag.state(adamw), folder)
    assert_same_bits(resumed_arrays, arrays)
    assert resumed.history == result.history


def newest(folder: Path) -> Path:
    written = [path for path in folder.iterdir() if path.name.isdigit()]
    return max(written, key=lambda path: int(path.name))


def state_of(value: float, step: int) -> TrainState:
    params = {"dense": {"w": jnp.full((1000, 50), float(value)), "b": jnp.full(50, -1.0)}}
    opt_state = optax.sgd(0.1, momentum=0.9).init(params)
    return TrainState(jnp.int32(step), params, opt_state, jax.random.key(0))


def position(best: float | None = None) -> dict:
    return {"epoch": 1, "step": 2, "best": best, "history": [{"epoch": 1, "loss": 0.1}]}


def test_a_snapshot_gives_back_what_was_written(folder, assert_same_bits):
    best = state_of(9, 1).params
    with_best = Snapshot(state_of(1 / 3, 5), best, position(best=0.1))
    snapshots = Snapshots(folder, SETTINGS)
    snapshots.write(with_best)
    snapshots.close()
    found = Snapshots(folder, SETTINGS).read(lambda: state_of(0, 0))
    assert found is not None
    assert found.position == with_best.position
    assert_same_bits(found.best_params, best)
    assert_same_bits(found.state.replace(key=()), with_best.state.replace(key=()))


def unwanted() -> TrainState:
    """Of a state on several devices the template is a copy on one."""
    raise AssertionError("the template is asked for, and there is no snapshot")


def test_no_snapshot_is_none_and_makes_no_folder(folder):
    snapshots = Snapshots(folder, SETTINGS)
    assert snapshots.read(unwanted) is None
    assert not folder.exists()
    folder.mkdir()
    assert snapshots.read(unwanted) is None


def test_the_newest_snapshot_alone_is_kept(folder):
    snapshots = Snapshots(folder, SETTINGS)
    for step in (2, 4, 10):
        snapshots.write(Snapshot(state_of(step, step), None, position()))
    snapshots.close()
    assert [path.name for path in folder.iterdir() if path.name.isdigit()] == ["10"]
    found = Snapshots(folder, SETTINGS).read(lambda: state_of(0, 0))
    assert found is not None
    assert found.state.step == 10
    assert found.best_params is None


def test_a_step_that_uses_the_state_up_does_not_reach_the_snapshot(folder):
    """The arrays are written in the background, while later steps write over them."""
    step = jax.jit(
        lambda s: s.replace(params=jax.tree.map(lambda x: x + 1, s.params)), donate_argnums=0
    )
    state = step(state_of(0, 3))
    snapshots = Snapshots(folder, SETTINGS)
    snapshots.write(Snapshot(state, None, position()))
    for _ in range(50):
        state = step(state)
    snapshots.close()
    found = Snapshots(folder, SETTINGS).read(lambda: state)
    assert found is not None
    assert set(np.unique(found.state.params["dense"]["w"])) == {1}


def test_other_settings_are_refused_and_named(folder):
    snapshots = Snapshots(folder, SETTINGS)
    snapshots.write(Snapshot(state_of(0, 2), None, position()))
    snapshots.close()
    other = {**SETTINGS, "seed": 8, "clean": True}
    with pytest.raises(UserError) as error:
        Snapshots(folder, other).read(lambda: state_of(0, 0))
    line = str(error.value)
    assert "\n" not in line
    assert "other settings: clean was None and is True; seed was 7 and is 8; give" in line
    assert "learning_rate" not in line


def test_a_half_written_snapshot_is_ignored_and_its_step_written_again(folder):
    snapshots = Snapshots(folder, SETTINGS)
    snapshots.write(Snapshot(state_of(2, 2), None, position()))
    snapshots.close()
    # What a kill leaves: the temporary folder of a later step, with a part of its files.
    shutil.copytree(folder / "2" / "state", folder / "4.orbax-checkpoint-tmp" / "state")
    next((folder / "4.orbax-checkpoint-tmp").rglob("_METADATA")).unlink()
    snapshots = Snapshots(folder, SETTINGS)
    found = snapshots.read(lambda: state_of(0, 0))
    assert found is not None
    assert found.state.step == 2
    snapshots.write(Snapshot(state_of(4, 4), None, position()))
    snapshots.close()
    found = Snapshots(folder, SETTINGS).read(lambda: state_of(0, 0))
    assert found is not None
    assert (found.state.step, found.state.params["dense"]["w"][0, 0]) == (4, 4)


def test_remove_leaves_nothing(folder):
    snapshots = Snapshots(folder, SETTINGS)
    snapshots.write(Snapshot(state_of(0, 2), None, position()))
    snapshots.remove()
    assert not folder.exists()
    snapshots.remove()


def test_due_by_steps(folder):
    snapshots = Snapshots(folder, SETTINGS, every_steps=3)
    assert [step for step in range(1, 10) if snapshots.due(step)] == [3, 6, 9]


def test_due_by_time(folder, monkeypatch):
    snapshots = Snapshots(folder, SETTINGS, every_seconds=3600)
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert not snapshots.due(1)
    now[0] += 1800
    assert not snapshots.due(2)
    now[0] += 1800
    assert snapshots.due(3)
    snapshots.write(Snapshot(state_of(0, 3), None, position()))
    assert not snapshots.due(4)
    snapshots.close()


SCRIPT = Path(__file__).with_name("killed_run.py")
DEADLINE = 120  # seconds


def start_run(folder: Path, out: Path, wait_after: int) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(folder), str(out), str(wait_after)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at_snapshot(process: subprocess.Popen, snapshot: Path) -> None:
    """SIGKILL as soon as the snapshot is there."""
    deadline = time.monotonic() + DEADLINE
    try:
        while not snapshot.is_dir():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, f"{snapshot} never appeared"
            os.sched_yield()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.usefixtures("loose_promotion")
def test_a_killed_process_resumes_to_the_same_bits(tmp_path):
    out = tmp_path / "killed.json"
    # It runs into the second epoch, and stands still after its sixth step.
    killed = start_run(tmp_path / "killed", out, wait_after=6)
    kill_at_snapshot(killed, tmp_path / "killed" / "6")
    assert not out.exists()
    resumed = start_run(tmp_path / "killed", out, wait_after=-1)
    straight_out = tmp_path / "straight.json"
    runpy.run_path(str(SCRIPT))["main"](tmp_path / "straight", straight_out, -1)
    _, errors = resumed.communicate(timeout=DEADLINE)
    assert resumed.returncode == 0, errors
    found, expected = json.loads(out.read_text()), json.loads(straight_out.read_text())
    assert (expected.pop("first_step"), found.pop("first_step")) == (0, 6)
    assert found == expected
    assert len(expected["history"]) == 2
