"""The folder that a job fills: whole files, and what a cut-off job leaves for the next."""

import json
import os

import pandas as pd
import pytest

from bertjax.cluster import output as module
from bertjax.cluster.chunks import Chunk
from bertjax.cluster.output import Output
from bertjax.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "PART", 4)


def chunk(file: str, first: int, rows: int, last: bool) -> Chunk:
    return Chunk(file, first, pd.DataFrame({"row": range(first, first + rows)}), last)


def failure(file: str, row: int) -> str:
    return json.dumps({"file": file, "row": row})


def new(folder, **asked) -> Output:
    return Output(folder, {"a": "a.csv", "b": "deep/b.csv"}, {"run": 1, **asked})


def files(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_files_appear_when_they_are_finished(tmp_path):
    out = new(tmp_path / "out")
    out.open(False, False)
    assert not out.folder.exists()
    out.add(chunk("a", 0, 2, False), [failure("a", 2)])
    assert not out.folder.exists()
    out.add(chunk("b", 0, 3, False), [])
    out.add(chunk("a", 3, 1, False), [])
    assert not out.finished("a")
    out.add(chunk("a", 4, 1, True), [])
    out.add(chunk("b", 3, 0, True), [])
    out.close()
    assert files(out.folder) == [
        ".predict.json",
        "a.csv/part-00000.csv",
        "a.csv/part-00001.csv",
        "deep/b.csv",
        "failed.jsonl",
    ]
    parts = [pd.read_csv(p) for p in sorted((out.folder / "a.csv").iterdir())]
    assert pd.concat(parts)["row"].tolist() == [0, 1, 3, 4]
    assert (out.folder / "failed.jsonl").read_text() == failure("a", 2) + "\n"


def test_a_part_that_was_written_is_not_done_again(tmp_path):
    source = tmp_path / "a"
    source.write_text("1")
    names = {str(source): "a.csv"}
    file = str(source)
    first = Output(tmp_path / "out", names, {})
    first.add(chunk(file, 0, 3, False), [failure(file, 3)])
    first.add(chunk(file, 4, 2, False), [failure(file, 6)])  # lost with the process
    (first._parts(file) / "tmphalf.csv").write_text("half")
    again = Output(tmp_path / "out", names, {})
    again.open(True, False)
    assert again.rows_done(file) == 4
    again.add(chunk(file, 4, 2, True), [failure(file, 6)])
    again.close()
    assert files(again.folder / "a.csv") == ["part-00000.csv", "part-00001.csv"]
    failed = (again.folder / "failed.jsonl").read_text().splitlines()
    assert failed == [failure(file, 3), failure(file, 6)]


def test_parts_of_a_file_that_has_changed_are_dropped(tmp_path):
    source = tmp_path / "a"
    source.write_text("1")
    first = Output(tmp_path / "out", {str(source): "a.csv"}, {})
    first.add(chunk(str(source), 0, 5, False), [])
    assert first.rows_done(str(source)) == 5
    source.write_text("other")
    assert first.rows_done(str(source)) == 0


def test_failures_of_a_file_that_was_not_finished_are_not_told_twice(tmp_path, monkeypatch):
    out = new(tmp_path / "out")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        replace = os.replace
        patch.setattr(
            module.os, "replace", lambda a, b: killed() if b.name == "a.csv" else replace(a, b)
        )
        with pytest.raises(KeyboardInterrupt):
            out.add(chunk("a", 0, 1, True), [failure("a", 1)])
    with (out.folder / "failed.jsonl").open("a") as side:
        side.write('{"file": "b", "ro')
    again = new(tmp_path / "out")
    again.open(True, False)
    assert not again.finished("a")
    again.add(chunk("a", again.rows_done("a"), 0, True), [])
    assert (out.folder / "failed.jsonl").read_text() == failure("a", 1) + "\n"
    assert pd.read_csv(out.folder / "a.csv")["row"].tolist() == [0]


def test_another_job_s_folder_is_left_alone(tmp_path):
    out = new(tmp_path / "out")
    out.add(chunk("a", 0, 1, True), [])
    with pytest.raises(UserError, match="exists already"):
        new(tmp_path / "out").open(False, False)
    with pytest.raises(UserError, match="begun with another run"):
        new(tmp_path / "out", run=2).open(True, False)
    other = new(tmp_path / "out", run=2)
    other.open(False, True)
    assert not other.finished("a")
    assert other.rows_done("a") == 0
    assert files(out.folder) == [".predict.json", "a.csv"]  # until there is something better
    other.add(chunk("b", 0, 1, True), [])
    other.close()
    assert files(out.folder) == [".predict.json", "deep/b.csv"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_other_things_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no job of predictions"):
        new(tmp_path).open(not overwrite, overwrite)
    assert files(tmp_path) == ["mine.txt"]
