"""Snapshots as Ray Train's checkpoints, with Ray Train's own calls in the hands of the test."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import ray.train

from bertjax.cluster import reported as module
from bertjax.cluster.reported import ReportedSnapshots
from bertjax.errors import UserError
from bertjax.training.snapshots import Snapshot
from bertjax.training.steps import init_state


class Train:
    """What a process sees of Ray Train."""

    def __init__(self, folder: Path, rank: int = 0):
        self.folder = folder
        self.rank = rank
        self.reports: list[ray.train.Checkpoint | None] = []
        self.asked: list[bool | None] = []

    def get_context(self):
        return SimpleNamespace(get_world_rank=lambda: self.rank)

    def get_checkpoint(self):
        found = [checkpoint for checkpoint in self.reports if checkpoint]
        return found[-1] if found else None

    def report(self, metrics, checkpoint=None):
        if checkpoint is not None:  # its folder is gone after the call
            kept = self.folder / str(len(self.reports))
            checkpoint = ray.train.Checkpoint.from_directory(checkpoint.to_directory(str(kept)))
        self.reports.append(checkpoint)

    def broadcast(self, value):
        self.asked.append(value)
        return True if value is None else value


@pytest.fixture
def train(tmp_path, monkeypatch) -> Train:
    train = Train(tmp_path)
    for name in ("get_context", "get_checkpoint", "report"):
        monkeypatch.setattr(ray.train, name, getattr(train, name))
    monkeypatch.setattr(module, "broadcast_from_rank_zero", train.broadcast)
    return train


@pytest.fixture
def snapshot() -> Snapshot:
    params = {"w": jnp.arange(6.0).reshape(2, 3) / 7}
    state = init_state(params, optax.adam(1e-3), seed=3)
    state = state.replace(step=jnp.asarray(5, jnp.int32))
    position = {"epoch": 1, "step": 2, "best": 0.5, "best_epoch": 1, "losses": [], "history": []}
    return Snapshot(state, {"w": params["w"] + 1}, position)


def template(snapshot: Snapshot):
    return jax.tree.map(lambda x: x, snapshot.state).replace(step=jnp.zeros((), jnp.int32))


def test_what_was_written_is_read_bit_for_bit(train, snapshot):
    ReportedSnapshots({"seed": 3}).write(snapshot)
    found = ReportedSnapshots({"seed": 3}).read(lambda: template(snapshot))
    assert found is not None
    assert found.position == snapshot.position
    assert int(found.state.step) == 5
    for name in ("params", "opt_state"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(found.state, name), getattr(snapshot.state, name)
        )
    np.testing.assert_array_equal(found.best_params["w"], snapshot.best_params["w"])


def test_before_the_first_evaluation_there_is_no_best(train, snapshot):
    early = snapshot._replace(best_params=None, position={**snapshot.position, "best": None})
    ReportedSnapshots({}).write(early)
    found = ReportedSnapshots({}).read(lambda: template(snapshot))
    assert found is not None
    assert found.best_params is None


def test_other_settings_are_refused(train, snapshot):
    ReportedSnapshots({"seed": 3}).write(snapshot)
    with pytest.raises(UserError, match="seed was 3 and is 4"):
        ReportedSnapshots({"seed": 4}).read(lambda: template(snapshot))


def test_without_a_snapshot_there_is_nothing_to_read(train, snapshot):
    assert ReportedSnapshots({}).read(lambda: template(snapshot)) is None


def test_a_run_folder_is_no_snapshot(train, snapshot, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    module.report(str(folder))
    assert ReportedSnapshots({}).read(lambda: template(snapshot)) is None


def test_another_process_reports_and_writes_nothing(train, snapshot):
    train.rank = 1
    ReportedSnapshots({}).write(snapshot)
    assert train.reports == [None]
    assert list(train.folder.iterdir()) == []


def test_by_steps_all_know_when(train):
    snapshots = ReportedSnapshots({}, every_steps=3)
    assert [snapshots.due(step) for step in range(1, 7)] == [False, False, True] * 2
    assert train.asked == []


def test_by_time_the_first_process_says_when(train):
    snapshots = ReportedSnapshots({}, every_seconds=1e9)
    assert not any(snapshots.due(step) for step in range(1, 40))
    assert train.asked == [False, False]
    train.rank = 1  # another has no clock of its own, and does what the first one says
    assert [step for step in range(1, 40) if snapshots.due(step)] == [16, 32]
