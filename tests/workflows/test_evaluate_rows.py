"""Which rows are scored, and which of them were trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertjax.checkpoints.run_file import RunFile, read_run_file
from bertjax.data.sources import read_table
from bertjax.data.splits import split_parts
from bertjax.errors import UserError
from bertjax.workflows.configs import EvaluateConfig
from bertjax.workflows.evaluate_rows import Training, find_training, read_rows, seen_in

CLASSES = ("animals", "money", "weather")


@pytest.fixture
def run(run_folder: Path) -> RunFile:
    return read_run_file(run_folder)


@pytest.fixture
def config(run_folder: Path, table_file: Path) -> EvaluateConfig:
    return EvaluateConfig(run=str(run_folder), data=str(table_file), out=Path("never"))


def trained_on(run: RunFile, table_file: Path) -> list[str]:
    table = read_table(str(table_file), ("title", "description"), "tag")
    part = split_parts(table.labels or [], 0.2, 0.2, 0).train
    return [table.texts[i] for i in part]


def test_rows_without_a_label_are_left_out_and_numbers_stay(run, config, tmp_path):
    data = tmp_path / "table.csv"
    data.write_text("title,description,tag\na,b,\nc,d,money\n,,animals\n")
    rows = read_rows(replace(config, data=str(data)), run, CLASSES)
    assert rows.texts == ["c d", ""]
    assert rows.numbers.tolist() == [1, 2]
    assert rows.targets.tolist() == [1, 0]
    assert rows.dropped == 1
    assert rows.frame["title"].tolist()[0] == "c"
    expected = read_table(str(data), ("title", "description"), "tag").fingerprint
    assert rows.fingerprint == expected
    assert rows.among(np.array([False, True])).numbers.tolist() == [2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title,description\na,b\n", "has no column 'tag'; its columns are 'title', 'description'"),
        ("title,description,tag\na,b,\n", "every row of the label column 'tag' is empty"),
        ("title,description,tag\na,b,sports\n", "labels never seen in training: 'sports'"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(content, expected, run, config, tmp_path):
    data = tmp_path / "table.csv"
    data.write_text(content)
    with pytest.raises(UserError, match=expected):
        read_rows(replace(config, data=str(data)), run, CLASSES)


def test_of_the_run_s_own_table_the_training_part_is_known(run, config, table_file):
    rows = read_rows(config, run, CLASSES)
    training = find_training(config, run, rows)
    assert training is not None
    assert training.texts == trained_on(run, table_file)
    assert len(training.texts) == run.data["train_rows"] == 36
    assert seen_in(training, rows.texts).sum() == 36


def test_it_is_found_where_it_lay(run, config, table_file, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("title,description,tag\na,b,money\n")
    config = replace(config, data=str(other))
    rows = read_rows(config, run, CLASSES)
    found = find_training(config, run, rows)
    assert found == Training(str(table_file), trained_on(run, table_file))
    moved = replace(run, data={**run.data, "source": str(tmp_path / "gone.csv")})
    assert find_training(config, moved, rows) is None
    changed = replace(run, data={**run.data, "source": str(other)})
    assert find_training(config, changed, rows) is None


def test_a_table_that_is_named_counts_as_a_whole_unless_it_is_the_run_s(
    run, config, table_file, tmp_path
):
    other = tmp_path / "other.jsonl"
    other.write_text('{"title": "Rain!", "description": "today"}\n')
    rows = read_rows(config, run, CLASSES)
    found = find_training(replace(config, train=str(other)), run, rows)
    assert found == Training(str(other), ["Rain! today"])
    assert seen_in(found, ["rain, today", "rain"]).tolist() == [True, False]
    own = find_training(replace(config, train=str(table_file)), run, rows)
    assert own == Training(str(table_file), trained_on(run, table_file))


def test_another_split_than_the_run_s_is_not_taken_for_it(run, config):
    rows = read_rows(config, run, CLASSES)
    for settings in ({}, {**run.settings, "test_size": 0.5}):
        assert find_training(config, replace(run, settings=settings), rows) is None
