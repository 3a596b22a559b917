"""The trials of a search as rows."""

import csv
from dataclasses import replace

import pytest

from bertjax.cluster.tune_report import Row, best_of, describe, write_table

ROW = Row(
    number=1,
    name="a",
    status="finished",
    settings={"learning_rate": 0.00012345, "epochs": 3},
    epochs=3,
    best=0.5,
    best_epoch=2,
    seconds=10.0,
    error="",
)
ROWS = [
    ROW,
    replace(ROW, number=2, status="stopped", best=0.9),
    replace(ROW, number=3, best=0.7),
    replace(ROW, number=4, status="failed", best=None, best_epoch=None, error='a "bad", row'),
]


@pytest.mark.parametrize(("metric", "number"), [("weighted_f1", 3), ("loss", 1)])
def test_the_best_is_one_that_left_a_run_folder(metric, number):
    best = best_of(ROWS, metric)
    assert best is not None
    assert best.number == number


def test_of_equals_the_first_is_the_best():
    best = best_of([ROW, replace(ROW, number=2)], "accuracy")
    assert best is not None
    assert best.number == 1


def test_there_is_no_best_where_none_finished():
    assert best_of(ROWS[3:], "loss") is None


def test_the_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "trials.csv"
    write_table(path, ROWS, ["learning_rate", "epochs"], "macro_f1")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[0]["learning_rate"]) == 0.00012345
    assert float(rows[1]["best_macro_f1"]) == 0.9
    assert (rows[3]["status"], rows[3]["best_macro_f1"]) == ("failed", "")
    assert rows[3]["error"] == 'a "bad", row'
    assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]


def test_settings_are_told_in_few_characters():
    assert describe(ROW.settings) == "learning_rate 0.000123, epochs 3"
