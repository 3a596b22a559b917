"""Training on many processes: what one process makes of a table, whatever happens on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import ray
from jax.experimental.multihost_utils import process_allgather
from safetensors.numpy import load_file

from bertjax.cluster import train as module
from bertjax.cluster.failures import LESS
from bertjax.cluster.train import finetune
from bertjax.cluster.worker import _joined, work
from bertjax.errors import UserError
from bertjax.tracking.fetch import fetch
from bertjax.tracking.runs import list_runs
from bertjax.tracking.store import client_of
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows import finetune as alone
from bertjax.workflows.configs import ClusterConfig, FinetuneConfig, TrackingConfig

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture(scope="module")
def config(tiny_folder, table_file):
    """Three epochs of six steps; the path of the run folder is still to be given."""
    return FinetuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=Path("nowhere"),
        epochs=3,
        batch_size=7,
        validation_size=0.2,
        precision="float32",
        optimizer=OptimizerConfig(learning_rate=5e-3),
        snapshot_every=2,
        cluster=ClusterConfig(workers=2),
    )


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Path:
    """A folder for what a process of the two has seen: a .json by its rank."""
    return tmp_path_factory.mktemp("seen")


class Counting:
    """A listener that counts."""

    def __init__(self) -> None:
        self.steps = self.tokens = self.epochs = 0

    def start(self, done: int, total: int) -> None:
        assert (done, total) == (0, 18)

    def step(self, tokens: int, seen) -> None:
        self.steps += 1
        self.tokens += tokens

    def epoch(self, record: dict[str, float]) -> None:
        self.epochs += 1


@pytest.fixture(scope="module")
def counted() -> Counting:
    """What is told in `two_workers`."""
    return Counting()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory, empty_store) -> TrackingConfig:
    """Of `two_workers`."""
    path = shutil.copy(empty_store, tmp_path_factory.mktemp("tracked") / "store.db")
    return TrackingConfig(tracking_uri=f"sqlite:///{path}", experiment="two")


@pytest.fixture(scope="module")
def two_workers(config, tmp_path_factory, seen, counted, tracking):
    """(result, the run folder) of an undisturbed training."""

    def watched(settings):
        opened, beside = [], {}  # files that Python opens to write; settings of Ray's processes

        def note(event, arguments):
            if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                opened.append(str(arguments[0]))

        sys.addaudithook(note)
        outcome = work(settings)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if parent_of(process).name == str(os.getppid()):
                    title = (process / "cmdline").read_text().rstrip("\0 ")
                    variables = (process / "environ").read_bytes().split(b"\0")
                    beside[title] = [x.decode() for x in variables if x.startswith(b"RAY_TRAIN")]
        rank = ray.train.get_context().get_world_rank()
        (seen / f"{rank}.json").write_text(json.dumps({"opened": opened, "beside": beside}))
        return outcome

    out = tmp_path_factory.mktemp("two") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "work", watched)
        patch.delenv("BERTJAX_TRACK", raising=False)
        config = replace(config, out=out, tracking=tracking)
        return finetune(config, verbose=False, listener=counted), out


def test_two_workers_train_what_one_process_trains(config, two_workers, tmp_path):
    result, folder = two_workers
    one = alone.finetune(replace(config, out=tmp_path / "one", cluster=ClusterConfig()), False)
    # As of the history below: of logits, not of the classes that they choose.
    calibration = pytest.approx(one.scores["calibration"], rel=1e-3)
    assert result.scores == {**one.scores, "calibration": calibration}
    assert result.scores["accuracy"] > 0.6
    assert len(result.training["history"]) == 3
    for found, expected in zip(result.training["history"], one.training["history"], strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    values, expected = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "one"))
    assert values.keys() == expected.keys()
    for name in values:
        if not name.endswith("key.bias"):  # of no effect: its gradient is rounding alone
            np.testing.assert_allclose(values[name], expected[name], atol=1e-3, err_msg=name)
    here, there = (json.loads((f / "bertjax.json").read_text()) for f in (folder, tmp_path / "one"))
    assert here["scores"] == result.scores
    assert here["temperature"] == pytest.approx(there["temperature"], rel=1e-3)
    for name in ("text", "label", "clean", "max_length", "ladder"):
        assert here[name] == there[name]
    assert {**here["settings"], "parallel": "jit"} == there["settings"]
    assert here["data"]["fingerprint"] == there["data"]["fingerprint"]


def test_nothing_is_left_beside_the_run_folder(two_workers):
    _, folder = two_workers
    assert [file.name for file in folder.parent.iterdir()] == ["run"]


def test_the_tokens_of_both_processes_are_told(two_workers, counted):
    run = json.loads((two_workers[1] / "bertjax.json").read_text())
    assert (counted.steps, counted.epochs) == (18, 3)
    # A step is told as the mean of its epoch, to a whole number.
    assert counted.tokens == pytest.approx(3 * run["data"]["train_tokens"], abs=18 / 2)


def test_mlflow_is_told_of_each_step_and_epoch_once(two_workers, tracking):
    result, folder = two_workers
    (run,) = list_runs(tracking.tracking_uri, "two", None)
    assert (run.name, run.kind, run.status, run.has_model) == ("run", "finetune", "FINISHED", True)
    assert run.params["data_rows"] == "60"
    assert run.metrics["weighted_f1"] == result.scores["weighted_f1"]
    client, history = client_of(tracking.tracking_uri), result.training["history"]
    losses = client.get_metric_history(run.id, "step_loss")
    assert [metric.step for metric in losses] == list(range(1, 19))
    first = [metric.value for metric in losses[:6]]
    assert sum(first) / 6 == pytest.approx(history[0]["train_loss"])
    scores = client.get_metric_history(run.id, "validation_weighted_f1")
    assert [metric.value for metric in scores] == [record["weighted_f1"] for record in history]
    stored = load_file(fetch(f"run:{run.id}", tracking.tracking_uri) / "model.safetensors")
    np.testing.assert_equal(stored, load_file(folder / "model.safetensors"))


def seen_by(seen: Path, rank: int) -> dict[str, Any]:
    return json.loads((seen / f"{rank}.json").read_text())


def test_the_first_process_alone_writes(two_workers, seen):
    first, second = (seen_by(seen, rank)["opened"] for rank in (0, 1))
    assert {"position.json", "config.json", "bertjax.json"} <= {Path(path).name for path in first}
    ours = ("/dev/null", os.environ["JAX_COMPILATION_CACHE_DIR"], "/tmp/ray/")
    assert [path for path in second if not path.startswith(ours)] == []


def test_nothing_is_waited_for_longer_than_it_takes(two_workers, seen):
    """A process of Ray Train's that asks a dashboard, which is none here; its look at reports."""
    beside = seen_by(seen, 0)["beside"]
    (controller,) = [title for title in beside if title.startswith("ray::TrainController")]
    assert "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=1" in beside[controller]
    assert not [title for title in beside if "Cleaner" in title], list(beside)


def workers() -> list[int]:
    """The processes that train, of this process's Ray."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_text()
            starter = parent_of(parent_of(process))  # Ray's daemon stands between
        except OSError:  # it has ended
            continue
        if title.startswith("ray::RayTrainWorker") and starter.name == str(os.getpid()):
            found.append(int(process.name))
    return found


def parent_of(process: Path) -> Path:
    return process.with_name((process / "stat").read_text().rpartition(")")[2].split()[1])


def wait_for_a_snapshot(storage: Path) -> None:
    """Until Ray Train knows of it."""
    while not (storage / "training" / "checkpoint_manager_snapshot.json").exists():
        time.sleep(0.02)


def kill_a_worker(storage: Path, killed: list[int]) -> None:
    """Once there is a snapshot."""
    wait_for_a_snapshot(storage)
    killed += workers()[-1:]
    os.kill(killed[0], signal.SIGKILL)


def test_a_killed_worker_costs_the_steps_since_the_last_snapshot_and_no_bit(
    config, two_workers, tmp_path, capfd
):
    out, killed = tmp_path / "run", []
    watch = threading.Thread(
        target=kill_a_worker, args=(out.with_name("run.snapshots"), killed), daemon=True
    )
    watch.start()
    result = finetune(replace(config, out=out), verbose=True)
    watch.join()
    assert len(killed) == 1
    # The bar has begun twice, the second time after the snapshot.
    begun = re.findall(r"\| (\d+)/18 \[00:00<\?", shown := capfd.readouterr().err)
    assert begun[0] == "0", shown
    assert any(int(step) >= 2 for step in begun[1:]), shown
    values, expected = (load_file(f / "model.safetensors") for f in (out, two_workers[1]))
    for name in values:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)
    assert result.training["history"] == two_workers[0].training["history"]
    assert result.scores == two_workers[0].scores


def start_command(config: FinetuneConfig, out: Path) -> subprocess.Popen[str]:
    """`bertjax finetune` with these settings, on a Ray of its own."""
    options = {
        "label": config.label,
        "checkpoint": config.checkpoint,
        "out": out,
        "epochs": config.epochs,
        "batch-size": config.batch_size,
        "validation-size": config.validation_size,
        "precision": config.precision,
        "learning-rate": config.optimizer.learning_rate,
        "snapshot-every": config.snapshot_every,
        "workers": config.cluster.workers,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return subprocess.Popen(
        [sys.executable, "-m", "bertjax", "finetune", config.data, "--text", *config.text, *flags],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_ended_early_goes_on_to_the_same_bits(
    by, config, two_workers, tmp_path, capfd
):
    out = tmp_path / "run"
    command = start_command(config, out)
    wait_for_a_snapshot(out.with_name("run.snapshots"))
    os.kill(command.pid, by)
    said = command.communicate(timeout=200)[1]
    assert not out.exists()
    if by == signal.SIGINT:
        assert command.returncode == 2, said
        line = f"bertjax: interrupted; {out} was not written; --resume with the same"
        assert said.splitlines()[-1].startswith(line)
        assert "Traceback" not in said
    with pytest.raises(UserError, match="holds an unfinished run: pass --resume"):
        finetune(replace(config, out=out), verbose=False)
    capfd.readouterr()
    finetune(replace(config, out=out, resume=True))
    assert "are taken as they were read for this run before" in capfd.readouterr().err
    values, expected = (load_file(f / "model.safetensors") for f in (out, two_workers[1]))
    for name in values:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)
    assert not out.with_name("run.snapshots").exists()


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"workers": 99}, "--workers 99 needs as many cores, and the cluster has"),
        ({"workers": 2, "worker_gpus": 1}, "the GPUs of the cluster's machines are: 0"),
        (
            {"workers": 1, "topology": "4x4", "accelerator": "TPU-V6E"},
            "--topology needs TPUs, and the cluster has none",
        ),
    ],
)
def test_what_the_cluster_has_not_is_refused(cluster, message, config, tmp_path):
    with pytest.raises(UserError, match=message):
        finetune(
            replace(config, out=tmp_path / "run", cluster=ClusterConfig(**cluster)), verbose=False
        )
    assert not list(tmp_path.iterdir())


def test_what_failed_before_the_first_snapshot_leaves_nothing(config, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "a.csv").write_text(Path(config.data).read_text())
    (folder / "b.csv").write_text('title,description,tag\n"never closed,x,y\n')
    with pytest.raises(UserError, match=r"b\.csv is not a well-formed \.csv"):
        finetune(replace(config, data=str(folder), out=tmp_path / "run"), verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_a_mistake_that_a_worker_finds_is_told_in_one_line(config, tmp_path):
    wrong = replace(config, out=tmp_path / "run", mesh="data=3", parallel="mesh")
    with pytest.raises(UserError, match=r"--mesh needs a multiple of 3 devices, found 2$") as error:
        finetune(wrong, verbose=False)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def greedy(settings) -> None:
    np.zeros(2**58)


def killed(settings) -> None:
    time.sleep(1)  # as long as it takes Ray to know that the worker runs
    os.kill(os.getpid(), signal.SIGKILL)


LOST = f"^training lost a process, most likely because the system .*: {LESS}; --resume"


def one_killed(settings) -> None:
    """The other fails too, since what it waits for does not come."""
    with _joined(distributed=False):
        if jax.process_index() == 1:
            killed(settings)
        process_allgather(np.zeros(1))


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (
            greedy,
            f"^training ran out of memory: {LESS}; --resume takes the rows as they were read$",
        ),
        (killed, LOST),
        (one_killed, LOST),
    ],
)
def test_a_worker_without_memory_ends_the_training(
    work, message, config, tmp_path, monkeypatch, wait_for_free_cores
):
    monkeypatch.setattr(module, "work", work)
    cluster = ClusterConfig(workers=2, retries=0)
    with pytest.raises(UserError, match=message):
        finetune(replace(config, out=tmp_path / "run", cluster=cluster), verbose=False)
    wait_for_free_cores()
