"""The training's side waits for nothing, whatever becomes of the other one."""

import os
import signal
import time

import pytest

from bertjax.errors import UserError
from bertjax.tracking.recorder import Recorder
from bertjax.tracking.runs import list_runs


@pytest.fixture
def opening(tmp_path, store) -> dict:
    return {
        "store": store,
        "experiment": "e",
        "name": "x",
        "out": str(tmp_path / "x"),
        "resume": False,
        "kind": "finetune",
        "patience": 5.0,
    }


def test_a_process_that_stands_still_or_dies_does_not_stop_who_tells_it(opening):
    recorder = Recorder(opening)
    pid = recorder._process.pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    for step in range(20_000):  # far more than a pipe holds
        recorder.steps(step, [{"loss": 0.5, "grad_norm": 1.0}])
    told = time.monotonic() - began
    os.kill(pid, signal.SIGKILL)
    assert told < 30  # a pipe that is full would stand for ever
    with pytest.raises(UserError, match="the process that writes to MLflow has died"):
        recorder.wait_until_ready()
    assert "has died" in recorder.finish(folder=None).lost["what came last"]
    recorder.close()


def test_a_training_that_was_killed_is_noted(opening):
    recorder = Recorder(opening)
    recorder.wait_until_ready()
    recorder.tell("begin", params={"epochs": 3}, tags={})
    recorder.steps(1, [{"loss": 0.5, "grad_norm": 1.0}, {"loss": 0.25, "grad_norm": 1.0}])
    recorder._lines.put(None)  # as when its process is gone
    recorder._process.wait(60)
    recorder.close()
    (run,) = list_runs(opening["store"], "e", None)
    assert run.status == "KILLED"
    assert run.metrics["step_loss"] == 0.25
    assert run.params == {"epochs": "3"}


def test_one_that_comes_to_nothing_before_it_begins_leaves_no_run(opening):
    recorder = Recorder(opening)
    recorder.wait_until_ready()
    recorder.close()
    assert list_runs(opening["store"], "e", None) == []
