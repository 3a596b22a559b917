"""`bertjax runs`: the table, its JSON, and the order."""

import json

import pytest

from bertjax.cli import main


@pytest.fixture
def flags(tracked_run) -> tuple[str, str]:
    return "--tracking-uri", tracked_run.uri


def test_the_table_has_a_line_a_run(flags, tracked_run, capsys):
    assert main(["runs", *flags]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["run", "name", "experiment", "started", "status"]
    cells = line.split()
    assert len(cells[0]) == 8
    assert cells[1:3] == ["run", "tags"]
    assert cells[5:8] == ["finished", "60", "3"]
    scores = json.loads((tracked_run.folder / "bertjax.json").read_text())["scores"]
    assert cells[-2:] == [f"{scores['weighted_f1']:.4f}", f"{scores['accuracy']:.4f}"]


def test_json_has_settings_and_all_metrics(flags, tracked_run, capsys):
    assert (
        main(["runs", "--experiment", "tags", "--sort", "training_seconds", "--json", *flags]) == 0
    )
    (line,) = capsys.readouterr().out.splitlines()
    run = json.loads(line)
    assert run["experiment"] == "tags"
    assert run["kind"] == "finetune"
    assert run["status"] == "FINISHED"
    assert run["has_model"] is True
    assert run["params"]["batch_size"] == "6"
    assert {"weighted_f1", "step_loss", "validation_accuracy", "train_loss"} <= run[
        "metrics"
    ].keys()
    assert len(run["id"]) == 32


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--experiment", "other"], "no experiment 'other'; there are Default, tags"),
        (["--sort", "beauty"], "no run has the metric 'beauty'; there are accuracy"),
        (["--limit", "0"], "--limit is 0, but must be at least 1"),
    ],
)
def test_what_is_not_there_is_refused_in_a_line(arguments, expected, flags, capsys):
    assert main(["runs", *arguments, *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err.splitlines()[-1]
