"""Searches of real trials in processes of Ray: what they write, survive, and refuse."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from bertjax.cli import main
from bertjax.cluster.tune import tune
from bertjax.cluster.tune_console import Console
from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor
from bertjax.tracking.runs import list_runs
from bertjax.tracking.store import client_of
from bertjax.workflows.configs import TrackingConfig
from bertjax.workflows.tune_configs import TuneConfig

SPACE = (
    *("learning_rate=5e-3,1e30", "batch_size=8", "warmup=0", "weight_decay=0", "dropout=0"),
    *("epochs=2", "clip_norm=0", "precision=float32"),
)


@pytest.fixture(scope="session")
def base(table_file: Path, tiny_folder: Path) -> TuneConfig:
    return TuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=Path("search"),
        trials=3,
        space=SPACE,
    )


def arguments_of(config: TuneConfig, *more: str) -> list[str]:
    return [
        *("tune", config.data, "--text", *config.text, "--label", config.label),
        *("--checkpoint", config.checkpoint, "--out", str(config.out)),
        *("--trials", str(config.trials), "--concurrent", str(config.concurrent)),
        *("--search", config.search, "--seed", str(config.seed), "--space", *config.space, *more),
    ]


def table_of(config: TuneConfig) -> list[dict[str, str]]:
    with (config.out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def search(ray_here, base, tmp_path_factory) -> TuneConfig:
    """A search by chance: with this seed it draws a trial that fails and one that learns."""
    folder = tmp_path_factory.mktemp("searches")
    tracking = TrackingConfig(tracking_uri=f"sqlite:///{folder}/store.db", experiment="searches")
    config = replace(base, out=folder / "search", seed=2, trials=2, tracking=tracking)
    flags = ("--tracking-uri", str(tracking.tracking_uri), "--experiment", tracking.experiment)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BERTJAX_TRACK", raising=False)
        assert main(arguments_of(config, *flags)) == 0
    return config


def test_a_trial_that_fails_is_a_row_and_does_not_end_the_search(search):
    rows = table_of(search)
    assert [row["trial"] for row in rows] == ["1", "2"]
    by_rate = {float(row["learning_rate"]): row for row in rows}
    failed, finished = by_rate[1e30], by_rate[5e-3]
    assert failed["status"] == "failed"
    assert "use a lower --learning-rate" in failed["error"]
    assert (finished["status"], finished["epochs_run"], finished["error"]) == ("finished", "2", "")
    assert float(finished["best_weighted_f1"]) > 0.4  # of three classes
    assert float(finished["seconds"]) > 0


def test_the_folder_keeps_the_best_run_and_nothing_else_of_the_trials(search):
    kept = ["best", "best.json", "search.json", "search.png", "trials.csv"]
    assert names(search.out) == kept
    run = json.loads((search.out / "best" / "bertjax.json").read_text())
    scores = [record["weighted_f1"] for record in run["training"]["history"]]
    finished = [row for row in table_of(search) if row["status"] == "finished"]
    assert max(scores) == max(float(row["best_weighted_f1"]) for row in finished)
    assert run["scores"]["support"] == 12
    assert Predictor.load(search.out / "best").probabilities(["cat"]).shape == (1, 3)


def test_the_search_is_a_run_of_mlflow_with_its_trials_under_it(search):
    uri = search.tracking.tracking_uri
    runs = list_runs(uri, "searches", None, trials=True)
    assert sorted(run.kind for run in runs) == ["trial", "trial", "tune"]
    (whole,) = [run for run in runs if run.kind == "tune"]
    assert (whole.status, whole.has_model, whole.params["trials"]) == ("FINISHED", True, "2")
    run = json.loads((search.out / "best" / "bertjax.json").read_text())
    assert whole.metrics["weighted_f1"] == run["scores"]["weighted_f1"]
    trials = {run.status: run for run in runs if run.kind == "trial"}
    assert float(trials["FAILED"].params["learning_rate"]) == 1e30
    best = max(float(row["best_weighted_f1"] or 0) for row in table_of(search))
    assert trials["FINISHED"].metrics["best_weighted_f1"] == best
    scores = client_of(str(uri)).get_metric_history(trials["FINISHED"].id, "validation_weighted_f1")
    assert [(metric.step, metric.value) for metric in scores] == [
        (record["epoch"], record["weighted_f1"]) for record in run["training"]["history"]
    ]


def test_the_recipe_runs_as_it_is_to_the_run_of_the_best(search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "again"
    recipe = str(search.out / "best.json")
    assert main(["finetune", "--config", recipe, "--out", str(out)]) == 0
    again, best = (
        json.loads((folder / "bertjax.json").read_text()) for folder in (out, search.out / "best")
    )
    assert again["settings"] == best["settings"]
    assert again["data"] == best["data"]
    for one, other in zip(again["training"]["history"], best["training"]["history"], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_search_goes_on_after_a_kill_and_after_ctrl_c(
    ray_here, base, tmp_path, capfd, monkeypatch
):
    # A fitted head would be right at once, and the search stop the second trial as the worse one.
    space = (*SPACE[1:], "learning_rate=1e-3:5e-3:log", "head=random")
    config = replace(
        base, out=tmp_path / "search", space=space, concurrent=1, search="hyperopt", trials=2
    )
    killed_after_first_trial(config)
    first = table_of(config)[0]
    assert first["status"] == "finished"
    run_folders = names(config.out / "trials")

    with pytest.raises(UserError, match="other settings: trials was 2 and is 9"):
        tune(replace(config, trials=9, resume=True))
    assert "holds an unfinished search: pass --resume" in refused(arguments_of(config), capfd)

    with monkeypatch.context() as patch:
        interrupt_in_the_second_trial(patch)
        message = refused(arguments_of(config, "--resume"), capfd)
    assert message == (
        f"bertjax: interrupted after 1 of 2 trials; what was done is in {config.out}: --resume "
        "goes on"
    )
    assert same(table_of(config)[0], first)

    result = tune(replace(config, resume=True))
    assert [row.status for row in result.rows] == ["finished"] * 2
    assert same(table_of(config)[0], first)
    assert result.rows[0].name in run_folders  # not one that was begun anew, with the same seed
    assert len({row.settings["learning_rate"] for row in result.rows}) == 2
    assert names(config.out) == ["best", "best.json", "search.json", "search.png", "trials.csv"]


def killed_after_first_trial(config: TuneConfig) -> None:
    """Run the command in a process of its own, and SIGKILL it when it tells of a trial's end."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bertjax", *arguments_of(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    told = []
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if line.startswith("trial 1 of 2 finished"):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL, "".join(told)


def same(row: dict[str, str], other: dict[str, str]) -> bool:
    """But for the time: a trial that Ray Tune had not yet noted is told again from its folder."""
    return {**row, "seconds": ""} == {**other, "seconds": ""}


def interrupt_in_the_second_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C when it has begun."""

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        if trial.experiment_tag.startswith("2_"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Console, "on_trial_start", on_trial_start)


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The line that a refused command prints last."""
    capfd.readouterr()
    assert main(arguments) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    message = shown.err.strip().splitlines()[-1]
    assert message.startswith("bertjax: ")
    return message


def test_more_trials_at_once_than_there_is_room_for_are_refused(ray_here, base, tmp_path, capfd):
    config = replace(base, out=tmp_path / "search", concurrent=999)
    message = refused(arguments_of(config), capfd)
    assert "--concurrent 999 trials with --trial-cores 1 do not fit: the cluster has" in message
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"space": ("lr=1e-5,1e-4",)}, "--space has no setting 'lr'; known are"),
        ({"data": "no/such.csv"}, "no/such.csv"),
        ({"text": ("headline",)}, "no column 'headline'"),
        ({"checkpoint": "no/such/bert"}, "no/such/bert"),
        ({"trials": 0}, "--trials is 0"),
    ],
)
def test_bad_input_is_refused_before_ray_is_asked(
    change, expected, base, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("bertjax.cluster.tune.ray_session", None)
    config = replace(base, out=tmp_path / "search", **change)
    assert expected in refused(arguments_of(config), capfd)
    assert not config.out.exists()


def test_a_cluster_that_does_not_answer_is_refused_and_what_was_done_is_kept(
    base, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    config = replace(base, out=tmp_path / "search")
    arguments = arguments_of(config, "--ray-address", "127.0.0.1:1")
    assert "no Ray cluster answers at 127.0.0.1:1" in refused(arguments, capfd)
    assert not config.out.exists()


def test_where_every_trial_dies_the_first_error_is_told(
    ray_here, base, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(Console, "on_trial_start", kill_its_process)
    config = replace(base, out=tmp_path / "search", trials=1)
    assert main(arguments_of(config)) == 2
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("bertjax: no trial came to its end")
    assert "the first to fail: the trial lost a process, most likely because" in message
    (row,) = table_of(config)
    assert (row["status"], row["epochs_run"]) == ("failed", "0")
    assert names(config.out) == ["search.json", "trials.csv"]


def kill_its_process(console, iteration, trials, trial, **info) -> None:
    _, pid = ray.get(trial.temporary_state.ray_actor.get_current_ip_pid.remote())
    os.kill(pid, signal.SIGKILL)
