"""What a fine-tuning leaves in MLflow, and what a store that is away or unfit does to it."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.tracking.runs import list_runs
from bertjax.tracking.store import client_of
from bertjax.workflows import finetune as workflow
from bertjax.workflows import tracked as module
from bertjax.workflows.configs import FinetuneConfig, TrackingConfig
from bertjax.workflows.finetune import FinetuneResult, finetune
from bertjax.workflows.named_run import run_folder

DEADLINE = 120  # seconds; a bound on waiting for a process, not a claim on speed
STEPS = 12


@pytest.fixture
def tracking(monkeypatch):
    """Turned on, as it is for users."""
    monkeypatch.delenv("BERTJAX_TRACK")


@pytest.fixture(scope="module")
def run(tracked_run):
    """The run as MLflow knows it, and a client."""
    client = client_of(tracked_run.uri)
    experiment = client.get_experiment_by_name("tags")
    (found,) = client.search_runs([experiment.experiment_id])
    return client, found


def test_settings_data_and_versions_are_logged(run, tracked_run, tracked_config):
    _, found = run
    written = json.loads((tracked_run.folder / "bertjax.json").read_text())
    params, tags = found.data.params, found.data.tags
    assert params["learning_rate"] == "0.005"
    assert params["epochs"] == "2"
    assert params["data_fingerprint"] == written["data"]["fingerprint"]
    assert (params["data_rows"], params["data_classes"]) == ("60", "3")
    assert tags["version.jax"] == written["versions"]["jax"]
    assert len(tags["mlflow.source.git.commit"]) == 40  # the tests stand in a repository
    assert found.info.status == "FINISHED"
    assert not {"track", "tracking", "experiment"} & params.keys()


def test_each_step_and_each_epoch_is_logged(run, tracked_run):
    client, found = run
    training = json.loads((tracked_run.folder / "bertjax.json").read_text())["training"]
    losses = client.get_metric_history(found.info.run_id, "step_loss")
    assert [metric.step for metric in losses] == list(range(1, STEPS + 1))
    first = [metric.value for metric in losses[: STEPS // 2]]
    assert sum(first) / len(first) == pytest.approx(training["history"][0]["train_loss"])
    assert len(client.get_metric_history(found.info.run_id, "step_grad_norm")) == STEPS
    scores = client.get_metric_history(found.info.run_id, "validation_weighted_f1")
    assert [metric.step for metric in scores] == [1, 2]
    assert [metric.value for metric in scores] == [
        record["weighted_f1"] for record in training["history"]
    ]


def test_held_out_scores_have_the_names_that_evaluate_gives(run, tracked_run):
    _, found = run
    scores = json.loads((tracked_run.folder / "bertjax.json").read_text())["scores"]
    for name in ("accuracy", "weighted_f1", "macro_f1"):
        assert found.data.metrics[name] == scores[name]


def test_figures_packages_and_the_run_folder_are_artifacts(run, tracked_run):
    client, found = run

    def names(place: str | None = None) -> set[str]:
        return {Path(file.path).name for file in client.list_artifacts(found.info.run_id, place)}

    assert names() == {"environment.txt", "figures", "run"}
    assert names("figures") == {"training.png", "confusion_matrix.png"}
    written = {path.name for path in tracked_run.folder.iterdir()}
    assert written - {"mlflow.json"} <= names("run")  # that one tells what MLmodel tells there
    assert json.loads((tracked_run.folder / "mlflow.json").read_text()) == {
        "run_id": found.info.run_id
    }
    assert {"MLmodel", "input_example.json"} <= names("run")


def test_the_command_says_where_the_run_is(run, tracked_run):
    _, found = run
    assert (
        f"tracked as run {found.info.run_id[:8]} of experiment tags in {tracked_run.uri}, model "
        "tags version 1" in tracked_run.said
    )


PROGRAM = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/tags@newest")
frame = pandas.DataFrame({"description": ["cat dog horse", "bank tax euro"], "title": ["cat", ""]})
answer = model.predict(frame)
example = model.predict(model.metadata.load_input_example())
print(json.dumps({
    "columns": list(answer.columns),
    "rows": answer.values.tolist(),
    "inputs": model.metadata.signature.inputs.input_names(),
    "outputs": model.metadata.signature.outputs.input_names(),
    "example": len(example),
}))
"""


def test_the_model_predicts_in_a_process_of_its_own(tracked_run, tmp_path):
    from bertjax.serving.predictor import Predictor

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tracked_run.uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    texts = ["cat cat dog horse", "bank tax euro"]
    predictions = Predictor.load(tracked_run.folder)(texts)
    assert [row[0] for row in answer["rows"]] == [p["prediction"] for p in predictions]
    for row, prediction in zip(answer["rows"], predictions, strict=True):
        assert row[2:5] == pytest.approx(list(prediction["probabilities"].values()), abs=1e-6)
    assert answer["inputs"] == ["title", "description"]
    assert answer["outputs"] == answer["columns"]
    assert answer["columns"][:3] == ["prediction", "score", "probability of animals"]
    assert answer["example"] == 1


def with_store(config: FinetuneConfig, out: Path, uri: str) -> FinetuneConfig:
    return replace(config, out=out, tracking=TrackingConfig(tracking_uri=uri))


@contextmanager
def server_of(folder: Path, store: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """A tracking server of its own, which answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", store, "--workers", "1"),
        *("--artifacts-destination", str(folder / "files")),
    ]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", process
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    """The server and its workers, which are a group of their own."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def wait_for(url: str) -> None:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} does not answer")


class EndsServer:
    """A listener that kills a server after the first epoch."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self.steps = 0

    def start(self, done: int, total: int) -> None:
        assert total == STEPS

    def step(self, tokens: int, seen) -> None:
        self.steps += 1

    def epoch(self, record: dict[str, float]) -> None:
        end(self.process)


def test_a_server_serves_and_one_that_dies_does_not_end_the_training(
    tracked_config, tmp_path, tracking, capsys, monkeypatch, store
):
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.chdir(tmp_path)
    with server_of(tmp_path, store) as (uri, process):
        finetune(with_store(tracked_config, tmp_path / "first", uri))
        said = capsys.readouterr().err
        assert "model bertjax version 1" in said
        assert "did not take" not in said
        fetched = Path(run_folder("models:/bertjax/1", uri))
        assert fetched.is_relative_to(tmp_path / "caches")
        weights = [f / "model.safetensors" for f in (fetched, tmp_path / "first")]
        assert weights[0].read_bytes() == weights[1].read_bytes()

        listener = EndsServer(process)
        finetune(with_store(tracked_config, tmp_path / "second", uri), listener=listener)
    assert listener.steps == STEPS
    assert (tmp_path / "second" / "model.safetensors").is_file()
    (line,) = [said for said in capsys.readouterr().err.splitlines() if "tracked as" in said]
    assert "the store did not take: " in line
    assert "the run folder (connection refused)" in line
    assert "metrics (connection refused)" in line


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("the loss is nan"), "FAILED"),
        (UserError("stopped in epoch 1 at step 3"), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_a_training_that_fails_or_is_stopped_is_noted_as_such(
    error, status, tracked_config, tmp_path, tracking, monkeypatch, store
):
    def train(*_) -> None:
        raise error

    monkeypatch.setattr(workflow, "_training", train)
    with pytest.raises(type(error)):
        finetune(with_store(tracked_config, tmp_path / "run", store), verbose=False)
    (found,) = list_runs(store, "bertjax", None)
    assert (found.status, found.has_model) == (status, False)
    with pytest.raises(UserError, match=rf"\({status.lower()}\) has left no run folder"):
        run_folder(f"run:{found.id}", store)


def arguments_of(config: FinetuneConfig, out: Path, *more: str) -> list[str]:
    return [
        *("finetune", config.data, "--text", *config.text, "--label", config.label),
        *("--checkpoint", config.checkpoint, "--out", str(out), "--epochs", "1", *more),
    ]


def test_a_locked_store_is_refused_before_training(
    tracked_config, tmp_path, tracking, capsys, monkeypatch, store
):
    monkeypatch.setattr(workflow, "_training", None)
    out = tmp_path / "run"
    with closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        status = main(arguments_of(tracked_config, out, "--tracking-uri", store))
    assert status == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == (
        f"bertjax: the tracking store {store} cannot be used (database is locked): end "
        "the program that holds it (--tracking-uri), or do without (--no-track)"
    )
    assert not out.exists()


def finished_at_once(config: FinetuneConfig, *_) -> FinetuneResult:
    return FinetuneResult(config.out, {}, {})


def test_without_mlflow_the_training_is_not_tracked(
    tracked_config, tmp_path, tracking, capsys, monkeypatch
):
    monkeypatch.setattr(module, "is_installed", lambda: False)
    monkeypatch.setattr(workflow, "_finetune", finished_at_once)
    finetune(replace(tracked_config, out=tmp_path / "run"))
    assert "not tracked, since MLflow is not installed: pip install" in capsys.readouterr().err
    with pytest.raises(UserError, match="--tracking-uri needs the package mlflow"):
        finetune(with_store(tracked_config, tmp_path / "other", "http://127.0.0.1:1"))


def test_no_track_touches_no_store(tracked_config, tmp_path, tracking, monkeypatch):
    monkeypatch.setattr(module, "Recorder", None)
    monkeypatch.setattr(workflow, "_finetune", finished_at_once)
    monkeypatch.chdir(tmp_path)
    arguments = arguments_of(tracked_config, tmp_path / "run", "--no-track")
    assert main(arguments) == 0
    assert list(tmp_path.iterdir()) == []
