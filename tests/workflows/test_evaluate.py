"""Scores of a run on a table."""

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


def test_a_checkpoint_that_names_no_label_column_asks_for_one(run_folder, table_file, tmp_path):
    import shutil

    plain = shutil.copytree(run_folder, tmp_path / "plain", ignore=lambda *_: ["bertjax.json"])
    with pytest.raises(UserError, match="pass --label"):
        evaluate(EvaluateConfig(run=str(plain), data=str(table_file)))
