"""Names of MLflow in the place of run folders."""

import json

import pytest

from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.tracking.runs import list_runs
from bertjax.workflows.named_run import run_folder, with_folders
from bertjax.workflows.serve import build
from bertjax.workflows.serve_configs import ServeConfig


@pytest.fixture(scope="module")
def run_id(tracked_run) -> str:
    return list_runs(tracked_run.uri, "tags", None)[0].id


def test_all_names_lead_to_the_folder_that_was_logged(tracked_run, run_id):
    names = (
        *(f"run:{run_id}", f"run:{run_id[:8]}", "best:tags:weighted_f1"),
        *("models:/tags@newest", "models:/tags/1"),
    )
    folders = {run_folder(name, tracked_run.uri) for name in names}
    assert len(folders) == 1
    written = json.loads((tracked_run.folder / "bertjax.json").read_text())
    with open(f"{folders.pop()}/bertjax.json") as file:
        assert json.load(file) == written


def test_a_server_tells_the_id_of_the_run_that_it_was_named(tracked_run, run_id):
    """Of whatever name it has: the id stands in the folder of the store."""
    for name in (f"run:{run_id[:8]}", "best:tags:accuracy", "models:/tags@newest"):
        config = ServeConfig(run=name, tracking_uri=tracked_run.uri)
        [about] = build(config, None).about
        assert about["run_id"] == run_id
    assert build(ServeConfig(run=str(tracked_run.folder)), None).about[0]["run_id"] == run_id


def test_other_names_are_left_alone(tmp_path, monkeypatch):
    assert run_folder("runs/tags", None) == "runs/tags"
    (tmp_path / "run:mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_folder("run:mine", None) == "run:mine"


def test_a_canary_may_be_named_too(tracked_run, run_id):
    config = ServeConfig(
        run=f"run:{run_id}", canary="best:tags:accuracy", tracking_uri=tracked_run.uri
    )
    found = with_folders(config)
    assert found.run == found.canary
    assert found.run.endswith("/run")


def test_evaluate_and_predict_take_names(tracked_run, run_id, table_file, capsys):
    flags = ("--tracking-uri", tracked_run.uri)
    assert main(["evaluate", f"run:{run_id[:8]}", str(table_file), "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["support"] == 60
    assert main(["predict", "best:tags:accuracy", "--text", "cat", "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "cat"


REFUSED = {
    "run:" + "0" * 32: "has no run '0{32}': `bertjax runs` lists",
    "run:zzzzzz": "has no run 'zzzzzz'",
    "run:a": "give at least 4 characters",
    "best:tags": "is not of the form best:EXPERIMENT:METRIC",
    "best:nothing:accuracy": "no experiment 'nothing'; there are Default, tags",
    "best:tags:beauty": "no run has the metric 'beauty'; there are accuracy, macro_f1",
    "models:/tags": "is not of the form models:/NAME@ALIAS",
    "models:/tags@best": "has no models:/tags@best",
    "models:/other/1": "registered are tags",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_there_is_refused_in_a_line(name, tracked_run):
    with pytest.raises(UserError, match=REFUSED[name]) as refused:
        run_folder(name, tracked_run.uri)
    assert "\n" not in str(refused.value)
