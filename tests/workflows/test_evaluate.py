"""Scores of a run on a table, and the report of them."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate import evaluate


def test_columns_are_those_of_the_training_unless_said_otherwise(run_folder, table_file, tmp_path):
    scores = evaluate(EvaluateConfig(run=str(run_folder), data=str(table_file)))
    renamed = tmp_path / "renamed.csv"
    content = table_file.read_text().replace("title,description,tag", "a,b,c")
    renamed.write_text(content + "lost,no label,\n")
    config = EvaluateConfig(run=str(run_folder), data=str(renamed), text=("a", "b"), label="c")
    assert evaluate(config) == {**scores, "dropped": 1}


def test_calibration_is_told_with_and_without_the_temperature(run_folder, table_file, tmp_path):
    cold = shutil.copytree(run_folder, tmp_path / "cold")
    path = cold / "bertjax.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 4.0}))
    plain, scaled = (
        evaluate(EvaluateConfig(run=str(folder), data=str(table_file), precision="float32"))
        for folder in (run_folder, cold)
    )
    assert plain["calibration"]["log_loss"] == plain["calibration"]["uncalibrated_log_loss"]
    assert scaled["calibration"]["temperature"] == 4.0
    assert scaled["calibration"]["log_loss"] > 2 * plain["calibration"]["log_loss"]
    assert scaled["calibration"]["uncalibrated_log_loss"] == pytest.approx(
        plain["calibration"]["log_loss"], rel=1e-3
    )
    assert scaled["confusion_matrix"] == plain["confusion_matrix"]


def test_a_checkpoint_that_names_no_label_column_asks_for_one(run_folder, table_file, tmp_path):
    plain = shutil.copytree(run_folder, tmp_path / "plain", ignore=lambda *_: ["bertjax.json"])
    with pytest.raises(UserError, match="pass --label"):
        evaluate(EvaluateConfig(run=str(plain), data=str(table_file)))


@pytest.fixture
def config(run_folder: Path, table_file: Path, tmp_path: Path) -> EvaluateConfig:
    """Of a report without the words of predictions, which test_evaluate_further.py looks at."""
    out = tmp_path / "report"
    return EvaluateConfig(run=str(run_folder), data=str(table_file), out=out, explain=0)


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Figures are composed, but not drawn as PNG; few rows are changed to see what happens."""
    monkeypatch.setattr("bertjax.workflows.evaluate_behaviour.ROWS", 2)
    monkeypatch.setattr("bertjax.workflows.report_folder.write_png", lambda figure, folder: None)


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["title,description,tag", *lines]) + "\n", encoding="utf-8")
    return str(path)


def page_of(config: EvaluateConfig) -> str:
    return (config.out / "report.html").read_text(encoding="utf-8")


def test_a_report_holds_the_scores_and_a_picture_of_each_figure(config):
    facts = evaluate(config)
    assert {path.name for path in config.out.iterdir()} == {"report.html", "report.json", "figures"}
    assert json.loads((config.out / "report.json").read_text(encoding="utf-8")) == facts
    scores = evaluate(replace(config, out=None))
    assert {name: facts[name] for name in scores} == json.loads(json.dumps(scores))
    names = {path.stem for path in (config.out / "figures").iterdir()}
    lines = {"reliability", "confidence", "coverage", "thresholds"}
    # It may make no mistakes.
    assert names - {"mistakes"} == {"confusion", "slices", *lines, "behaviour"}
    assert facts["training"]["trained_on"] == 36
    assert facts["settings"]["out"] == str(config.out)
    page = page_of(config)
    assert "36 of 60 texts were trained on" in page
    assert len(page.encode()) < 500_000


def test_held_out_rows_can_be_scored_alone(config, undrawn):
    facts = evaluate(replace(config, held_out=True))
    assert facts["support"] == 24
    assert facts["training"]["trained_on"] == 0
    assert evaluate(replace(config, out=None, held_out=True))["accuracy"] == facts["accuracy"]


SLICES = '''
class Made:
    """As Snorkel's decorator makes them."""
    name = "cats"
    def __call__(self, row):
        return int("cat" in row.text)

cats = Made()

def slice_even(row):
    """Even numbers."""
    return int(row["description"].split()[-1]) % 2 == 0

def slice_broken(row):
    return row.title[3] != "k"
'''
# Rows of the table: cat, bank, rain; dog, tax, snow; horse, euro, wind; and again.
THREE_LETTERS = [row for row in range(60) if row % 9 in (0, 3, 4)]


def test_slices_of_a_file(config, undrawn, tmp_path):
    path = tmp_path / "slices.py"
    path.write_text(SLICES)
    cats, even, broken, *_ = evaluate(replace(config, slices=path))["slices"]
    assert (cats["name"], cats["rows"]) == ("cats", 20)
    assert (even["name"], even["says"], even["rows"]) == ("even", "Even numbers.", 30)
    assert broken["failed"] == THREE_LETTERS
    assert "The function of broken failed on" in page_of(config)


ODD = {
    "one row": (["cat,a cat,animals"], "No row of 2 classes: money, weather"),
    "one class": (["cat,a cat,animals", "dog,a dog,animals"] * 9, "Not looked for: all rows have"),
    "empty texts": (["cat,a cat,animals"] * 9 + [",,money"], "1 empty text, 10.0% of the rows"),
    "no label": (["cat,a cat,animals", "dog,a dog,"] * 9, "9 rows without a label: left out"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_table_is_scored_and_told_of(name, config, undrawn, tmp_path):
    lines, expected = ODD[name]
    evaluate(replace(config, data=written(tmp_path / "odd.csv", *lines)))
    assert expected in page_of(config)


def test_classes_that_do_not_exclude_each_other_are_scored(config, undrawn, run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "multi")
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | {"problem_type": "multi_label_classification"}
    path.write_text(json.dumps(fields))
    facts = evaluate(replace(config, run=str(folder)))
    assert facts["reliability"] == {
        "skipped": "each class has a probability of its own (multi-label)"
    }
    assert "calibration" not in facts


def refusal(capsys, *arguments: str) -> str:
    """The one line of a refused command."""
    assert main(["evaluate", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    return shown.err.strip().splitlines()[-1].removeprefix("bertjax: ")


REFUSED = {
    "a class of another model": (["cat,a cat,sports"], "labels never seen in training: 'sports'"),
    "no label at all": (["cat,a cat,"], "every row of the label column 'tag' is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_scored_leaves_nothing(name, config, tmp_path, capsys):
    lines, expected = REFUSED[name]
    data = written(tmp_path / "bad.csv", *lines)
    assert expected in refusal(capsys, config.run, data, "--out", str(config.out))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_table_without_the_label_column_lists_those_that_are(config, tmp_path, capsys):
    data = tmp_path / "bad.csv"
    data.write_text("title,description\ncat,a cat\n")
    said = refusal(capsys, config.run, str(data), "--out", str(config.out))
    assert "has no column 'tag'; its columns are 'title', 'description'" in said
    assert not config.out.exists()


def test_a_folder_that_exists_is_refused_before_anything_is_read(config, capsys):
    config.out.mkdir()
    (config.out / "keep.txt").write_text("mine")
    said = refusal(capsys, "no/such/run", "no/such.csv", "--out", str(config.out))
    assert said == f"{config.out} exists already: choose another folder or pass --overwrite"
    assert [path.name for path in config.out.iterdir()] == ["keep.txt"]


FILES = {
    "syntax": ("def slice_x(row:\n", ", line 1 is not Python: "),
    "import": ("import no_such_package\n", "imports no_such_package, which is missing"),
    "empty": ("x = 1\n", "has no slice: write functions slice_NAME(row) that say yes or no"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_slices_that_cannot_be_used(name, config, tmp_path, capsys):
    content, expected = FILES[name]
    path = tmp_path / "slices.py"
    path.write_text(content)
    flags = ["--out", str(config.out), "--slices", str(path)]
    assert expected in refusal(capsys, config.run, config.data, *flags)
    assert not config.out.exists()


def test_flags_of_a_report_ask_for_one(config, capsys):
    for flag, value in {"slices": ["x.py"], "train": ["x.csv"], "overwrite": []}.items():
        said = refusal(capsys, config.run, config.data, f"--{flag}", *value)
        assert said == f"--{flag} is for a report: give --out FOLDER too"


def test_held_out_rows_that_are_not_known_or_not_there(config, tmp_path, capsys):
    plain = shutil.copytree(config.run, tmp_path / "plain")
    run = json.loads((plain / "bertjax.json").read_text())
    (plain / "bertjax.json").write_text(json.dumps({**run, "data": {}}))
    said = refusal(capsys, str(plain), config.data, "--held-out")
    assert said == (
        f"--held-out: which rows {plain} was trained on is not known; name the table with --train"
    )
    said = refusal(capsys, str(plain), config.data, "--held-out", "--train", config.data)
    assert said == f"--held-out: {plain} was trained on every row of {config.data}"


def test_a_regression_is_refused(config, tmp_path, write_model, packaged_folder, capsys):
    folder = tmp_path / "regression"
    fields = {"num_hidden_layers": 1, "id2label": ("value",)}
    write_model(folder, "text-classification", packaged_folder, **fields)
    flags = ["--text", "title", "--label", "tag", "--out", str(config.out)]
    said = refusal(capsys, str(folder), config.data, *flags)
    assert said == f"{folder} gives values, not classes (a regression): only classes can be scored"
    assert not config.out.exists()


def test_a_missing_package_is_told_before_the_model_is_at_work(config, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    said = refusal(capsys, "no/such/run", config.data, "--out", str(config.out))
    assert said == "this needs the package cleanlab: pip install 'bertjax[report]'"


def test_a_failure_while_writing_leaves_nothing(config, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("bertjax.workflows.report_folder.write_png", fail)
    with pytest.raises(UserError, match="no space left"):
        evaluate(config)
    assert list(config.out.parent.iterdir()) == []


def test_the_command_prints_the_scores_and_ends_with_the_path(config, undrawn, capsys):
    assert main(["evaluate", config.run, config.data, "--out", str(config.out), "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.endswith(f"wrote {config.out / 'report.html'}\n")
    assert json.loads(shown.out)["support"] == 60
