"""The command: what it prints, and what a mistake gets: one line, status 2, nothing written."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bertjax.cli import main, parse
from bertjax.training.configs import OptimizerConfig
from bertjax.workflows.configs import FinetuneConfig


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    message = captured.err.strip().splitlines()[-1]
    assert captured.out == ""
    assert message.startswith("bertjax: ")
    assert "Traceback" not in captured.err
    return message


def finetune_arguments(data: Path | str, out: Path, checkpoint: Path) -> list[str]:
    return [
        *("finetune", str(data), "--text", "title", "description", "--label", "tag"),
        *("--checkpoint", str(checkpoint), "--out", str(out)),
        *("--epochs", "1", "--batch-size", "16"),
    ]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "new"


TABLES = {
    "empty": ("", "is empty"),
    "header": ("title,description,tag\n", "has a header but no rows"),
    "one class": (
        "title,description,tag\n" + "cat,a cat,animals\n" * 20,
        "at least two classes are needed, found only 'animals' in 20 rows",
    ),
    "other columns": ("name,tag\ncat,animals\n", "has no column 'title', 'description'"),
    "small class": (
        "title,description,tag\n" + "cat,a cat,animals\nbank,a bank,money\n" * 20 + "x,x,lone\n",
        "too small to split: 'lone'",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_used_is_refused(name, tmp_path, tiny_folder, out, capsys):
    content, expected = TABLES[name]
    data = tmp_path / "table.csv"
    data.write_text(content, encoding="utf-8")
    assert expected in refused(finetune_arguments(data, out, tiny_folder), capsys)
    assert not out.exists()


def test_the_refusal_of_a_column_lists_those_that_are(table_file, tiny_folder, out, capsys):
    arguments = finetune_arguments(table_file, out, tiny_folder)
    arguments[arguments.index("title")] = "headline"
    message = refused(arguments, capsys)
    assert "no column 'headline'" in message
    assert "'title', 'description', 'tag'" in message


def test_a_run_folder_that_exists_is_refused_and_left_alone(table_file, tiny_folder, out, capsys):
    out.mkdir(parents=True)
    (out / "keep.txt").write_text("mine")
    message = refused(finetune_arguments(table_file, out, tiny_folder), capsys)
    assert "exists already" in message
    assert "--overwrite" in message
    assert [path.name for path in out.iterdir()] == ["keep.txt"]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--epochs", "0", "--epochs is 0, but must be at least 1"),
        ("--learning-rate", "nan", "--learning-rate is nan, but must be at least 0"),
        ("--warmup", "5", "--warmup is 5.0, but must be from 0 to 1"),
        ("--test-size", "-0.1", "--test-size is -0.1, but must be from 0 to 1"),
        ("--max-length", "2", "--max-length is 2, but must be at least 3"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(
    flag, value, expected, table_file, tiny_folder, out, capsys
):
    arguments = finetune_arguments(table_file, out, tiny_folder)
    if flag in arguments:
        arguments = arguments[: arguments.index(flag)]
    assert expected in refused([*arguments, flag, value], capsys)


def damaged(folder: Path, target: Path, change) -> Path:
    """A copy of a checkpoint whose tensors went through `change`."""
    shutil.copytree(folder, target)
    path = target / "model.safetensors"
    save_file(change(load_file(path)), path)
    return target


def without(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v for k, v in tensors.items() if "layer.1.output.dense.weight" not in k}


def misshaped(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        k: v[:, :-1].copy() if k.endswith("word_embeddings.weight") else v
        for k, v in tensors.items()
    }


CHECKPOINTS = {
    "missing": (without, "missing: bert.encoder.layer.1.output.dense.weight"),
    "extra": (lambda t: {**t, "adapter.weight": np.zeros(3)}, "unexpected: adapter.weight"),
    "misshaped": (misshaped, "bert.embeddings.word_embeddings.weight [30522, 63] for [30522, 64]"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_does_not_fit_is_refused(
    name, table_file, tiny_folder, tmp_path, out, capsys
):
    change, expected = CHECKPOINTS[name]
    folder = damaged(tiny_folder, tmp_path / "damaged", change)
    assert expected in refused(finetune_arguments(table_file, out, folder), capsys)
    assert not out.exists()


def test_a_truncated_safetensors_is_refused(table_file, tiny_folder, tmp_path, out, capsys):
    folder = shutil.copytree(tiny_folder, tmp_path / "cut")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    message = refused(finetune_arguments(table_file, out, folder), capsys)
    assert "model.safetensors" in message
    assert not out.exists()


def test_a_folder_without_a_tokenizer_is_refused(table_file, tiny_folder, tmp_path, out, capsys):
    folder = shutil.copytree(tiny_folder, tmp_path / "mute")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    message = refused(finetune_arguments(table_file, out, folder), capsys)
    assert "holds no tokenizer" in message
    assert not out.exists()


def test_a_label_never_seen_in_training_is_refused(run_folder, tmp_path, capsys):
    data = tmp_path / "new.csv"
    data.write_text("title,description,tag\ncat,a cat,animals\ncow,a cow,farming\n")
    message = refused(["evaluate", str(run_folder), str(data)], capsys)
    assert "labels never seen in training: 'farming'" in message
    assert "'animals', 'money', 'weather'" in message


def test_evaluate_prints_json_that_a_program_can_read(run_folder, table_file, capsys):
    assert main(["evaluate", str(run_folder), str(table_file), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["support"] == 60
    assert scores["accuracy"] == np.trace(scores["confusion_matrix"]) / 60
    assert scores["accuracy"] > 0.9
    assert set(scores["per_class"]) == {"animals", "money", "weather"}
    assert {"weighted_f1", "macro_f1", "truncated", "dropped"} <= scores.keys()


def test_evaluate_prints_a_table(run_folder, table_file, capsys):
    assert main(["evaluate", str(run_folder), str(table_file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "support"]
    assert any(line.startswith("weighted average") for line in lines)


AWKWARD = [
    "",
    "🦀🧪 emoji only 🎉",
    "control \x00\x07\x1b[31m characters",
    "人工智能 и машинное обучение و شبكات",
    "word " * 100_000,
]


def test_predict_takes_any_text(run_folder, capsys):
    assert main(["predict", str(run_folder), "--json", "--text", *AWKWARD]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == AWKWARD
    assert [row["truncated"] for row in rows] == [False, False, False, False, True]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["score"] == max(row["probabilities"].values())


def test_predict_writes_a_table_and_keeps_its_columns(run_folder, table_file, tmp_path, capsys):
    target = tmp_path / "predictions.jsonl"
    arguments = ["predict", str(run_folder), "--data", str(table_file), "--out", str(target)]
    assert main(arguments) == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(rows) == 60
    assert rows[0]["title"] == "cat"
    assert rows[0]["prediction"] == "animals"
    assert rows[0]["probability of animals"] == rows[0]["score"]
    assert "exists already" in refused(arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "give texts"),
        (["--text", "a", "--data", "b.csv"], "one of both"),
        (["--data", "b.csv"], "--out FILE"),
        (["--data", "b.csv", "--out", "x.xlsx"], "cannot write x.xlsx"),
        (["--data", "b.csv", "--out", "no/where.csv"], "there is no folder"),
    ],
)
def test_predict_refuses(arguments, expected, run_folder, capsys):
    assert expected in refused(["predict", str(run_folder), *arguments], capsys)


def test_predict_refuses_a_model_without_a_trained_head(tiny_folder, capsys):
    message = refused(["predict", str(tiny_folder), "--text", "a"], capsys)
    assert "has no trained head" in message
    assert "bertjax finetune" in message


def test_a_folder_that_is_not_there_is_refused(capsys):
    assert "no/such/run" in refused(["predict", "no/such/run", "--text", "a"], capsys)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "best.json"
    path.write_text('{"data": "a.csv", "text": ["b", "c"], "epochs": 7, "learning_rate": 0.5}')
    return path


def test_a_recipe_gives_the_settings_and_flags_go_before_it(recipe):
    config = parse(["finetune", "--config", str(recipe), "--out", "runs/x", "--epochs", "3"])
    assert config == FinetuneConfig(
        data="a.csv",
        out=Path("runs/x"),
        text=("b", "c"),
        epochs=3,
        optimizer=OptimizerConfig(learning_rate=0.5),
    )
    other = parse(["finetune", "d.csv", "--out", "runs/x", f"--config={recipe}", "--text", "e"])
    assert (other.data, other.text, other.epochs) == ("d.csv", ("e",), 7)


def test_what_a_recipe_leaves_out_is_asked_for(recipe, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["finetune", "--config", str(recipe)])
    assert stop.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_a_recipe_with_unknown_settings_is_refused(recipe, capsys):
    recipe.write_text('{"epoch": 7}')
    message = refused(["finetune", "--config", str(recipe), "--out", "runs/x"], capsys)
    assert "unknown settings: epoch; known are data, out, text" in message
    assert "no/such.json" in refused(["finetune", "--config", "no/such.json"], capsys)


@pytest.mark.parametrize(
    "verb", ["explore", "label", "finetune", "evaluate", "predict", "tune", "runs"]
)
def test_help_explains_every_flag(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: bertjax {verb}" in text
    assert {"tune": "--space", "runs": "--sort", "label": "--rules"}.get(
        verb, "--precision"
    ) in text


def test_a_reader_that_leaves_gets_no_traceback():
    command = [sys.executable, "-m", "bertjax", "finetune", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve", "runs/tags"], "bertjax: interrupted"),
        (["predict", "runs/tags", "--text", "a"], "bertjax: interrupted; nothing was written"),
    ],
)
def test_ctrl_c_is_told_in_a_line(arguments, line, capsys, monkeypatch):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("bertjax.cli._run", interrupt)
    assert main(arguments) == 128 + signal.SIGINT
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize(
    ("arguments", "in_turn"),
    [(["finetune", "sample", "--out", "x"], True), (["predict", "x", "--text", "y"], False)],
)
def test_a_training_alone_runs_programs_in_turn(monkeypatch, arguments, in_turn):
    called = []
    monkeypatch.setattr("bertjax.cli.prepare_process", lambda: None)
    monkeypatch.setattr("bertjax.cli.run_in_turn", lambda: called.append(True))
    monkeypatch.setattr("bertjax.cli.run", lambda config: 0)
    main(arguments)
    assert bool(called) == in_turn
