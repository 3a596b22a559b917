from pathlib import Path

import pytest

from benchmarks.records import append_record, megabytes, print_table, ratio, read_records
from bertjax.errors import UserError


def test_records_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    append_record("loading", {"seed": 0, "who": "größer"}, folder)
    path = append_record("loading", {"seed": 1}, folder)
    assert path == folder / "loading.jsonl"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert read_records("loading", folder) == [{"seed": 0, "who": "größer"}, {"seed": 1}]


def test_without_a_file_there_are_no_records(tmp_path: Path) -> None:
    assert read_records("loading", tmp_path) == []


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = append_record("loading", {}, tmp_path)
    with path.open("a") as file:
        file.write('{"cut')
    with pytest.raises(UserError, match=r"loading\.jsonl, line 2 is not JSON"):
        read_records("loading", tmp_path)


def test_a_figure_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_record("loading", {"wall_s": float("nan")}, tmp_path)
    assert read_records("loading", tmp_path) == []


def test_a_table_is_aligned_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 150
    print_table("Title", ("", "ours"), [["load", "1.5 s"], [long, "[10] s"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Title"
    load = next(line for line in lines if "load" in line)
    last = next(line for line in lines if long in line)
    assert load.index("1.5 s") + 5 == last.index("[10] s") + 6


def test_cells() -> None:
    assert ratio(3, 4) == "0.75"
    assert ratio(3, 0) == "-"
    assert megabytes(1_234_567_890) == "1,235 MB"
