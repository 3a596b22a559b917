"""Scores of a run on a table."""

import json
import shutil

import pytest

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
