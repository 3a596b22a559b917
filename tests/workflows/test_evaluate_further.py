"""Words, behaviour and another run in the report of `bertjax evaluate`, by the command."""

import json
from pathlib import Path

import pytest

from bertjax.cli import main
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate import evaluate

FILE = """
from bertjax.evaluation.behaviour import Direction, Invariance

dogs = Invariance(lambda text: text.replace("dog", "horse"))
more_tax = Direction("money", lambda text: text + " tax bank tax bank")
"""


@pytest.fixture(scope="module")
def other_folder(run_folder, write_model, tmp_path_factory) -> Path:
    """A model of the same classes that has learned nothing."""
    folder = tmp_path_factory.mktemp("other") / "run"
    labels = ("animals", "money", "weather")
    return write_model(
        folder, "text-classification", run_folder, num_hidden_layers=1, id2label=labels
    )


@pytest.fixture(scope="module")
def report(run_folder, other_folder, table_file, tmp_path_factory):
    """(folder, facts) of a report with everything."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "behaviour.py").write_text(FILE)
    facts = evaluate(
        EvaluateConfig(
            run=str(run_folder),
            data=str(table_file),
            out=folder / "report",
            explain=3,
            lime=True,
            behaviour=folder / "behaviour.py",
            compare=str(other_folder),
        )
    )
    return folder / "report", facts


def test_the_page_has_a_section_of_each(report):
    folder, _ = report
    page = (folder / "report.html").read_text(encoding="utf-8")
    for anchor in ("words", "behaviour", "comparison"):
        assert f'<section id="{anchor}"' in page
    assert "<mark" in page
    assert page.index('id="wrong"') < page.index('id="words"')
    pictures = {path.stem for path in (folder / "figures").iterdir()}
    assert {"behaviour", "comparison"} <= pictures
    assert sum(name.startswith("words-of-row-") for name in pictures) >= 4


def test_the_numbers_of_each_are_written(report):
    folder, facts = report
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == facts
    names = [test["name"] for test in facts["behaviour"]["tests"]]
    assert names[-2:] == ["dogs", "more tax"]
    [dogs, tax] = facts["behaviour"]["tests"][-2:]
    assert dogs["cases"] == 20  # the rows of animals, of which each has the word
    assert tax["cases"] == 60
    assert facts["comparison"]["contingency"]["this_only"] > 20
    assert facts["comparison"]["mcnemar"]["p_value"] < 1e-3
    assert facts["comparison"]["differences"]["accuracy"]["low"] > 0
    assert facts["explained"]["largest_gap"] < 1e-3


def test_the_findings_say_what_came_out(report):
    page = (report[0] / "report.html").read_text(encoding="utf-8")
    assert "Surely better than" in page
    assert "behavioural test" in page.lower()


BAD = {
    "syntax": ("def (:", "behaviour.py, line 1 is not Python: invalid syntax"),
    "nothing": ("x = 1", "makes no behavioural test"),
    "label": (
        "from bertjax.evaluation.behaviour import Minimum\nsnow = Minimum('snow', ['snow'])",
        "the behavioural test snow is about the class 'snow', which the model does not have: it "
        "has animals, money, weather",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_of_tests_is_one_line_and_nothing_is_written(
    name, run_folder, table_file, tmp_path, capsys
):
    content, says = BAD[name]
    path = tmp_path / "behaviour.py"
    path.write_text(content)
    flags = ("--out", str(tmp_path / "report"), "--behaviour", str(path))
    assert says in refused(["evaluate", str(run_folder), str(table_file), *flags], capsys)
    assert [one.name for one in tmp_path.iterdir()] == ["behaviour.py"]


def test_a_run_of_other_classes_is_one_line_and_nothing_is_written(
    run_folder, packaged_folder, write_model, table_file, tmp_path, capsys
):
    other = write_model(
        tmp_path / "other", "text-classification", packaged_folder, num_hidden_layers=1
    )
    flags = ("--out", str(tmp_path / "report"), "--compare", str(other))
    line = refused(["evaluate", str(run_folder), str(table_file), *flags], capsys)
    assert line == (
        f"bertjax: --compare {other} has the classes LABEL_0, LABEL_1, but {run_folder} has "
        "animals, money, weather: compare runs of the same classes"
    )
    assert not (tmp_path / "report").exists()


def test_a_run_that_does_not_exist_is_one_line(run_folder, table_file, tmp_path, store, capsys):
    for name, says in {"run:12345678": "12345678", str(tmp_path / "no"): "no"}.items():
        flags = ("--out", str(tmp_path / "report"), "--compare", name, "--tracking-uri", store)
        assert says in refused(["evaluate", str(run_folder), str(table_file), *flags], capsys)
        assert not (tmp_path / "report").exists()


def test_settings_out_of_range_or_without_a_report_are_one_line(tmp_path, capsys):
    arguments = ["evaluate", "run", "sample"]
    out = ("--out", str(tmp_path / "report"))
    assert refused([*arguments, *out, "--explain", "-1"], capsys) == (
        "bertjax: --explain is -1, but must be at least 0"
    )
    for flags in (["--lime"], ["--behaviour", "b.py"], ["--compare", "other"]):
        assert refused([*arguments, *flags], capsys) == (
            f"bertjax: {flags[0]} is for a report: give --out FOLDER too"
        )


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    message = captured.err.strip().splitlines()[-1]
    assert message.startswith("bertjax: ")
    return message
