"""Predictions of texts and of tables."""

import pandas as pd
import pytest

from bertjax.errors import UserError
from bertjax.serving.predictor import Predictor
from bertjax.workflows.configs import PredictConfig
from bertjax.workflows.predict import predict


def test_texts_get_what_the_predictor_says(run_folder):
    texts = ("a cat", "rain")
    assert predict(PredictConfig(run=str(run_folder), text=texts)) == Predictor.load(run_folder)(
        texts
    )


def test_a_table_of_other_columns(run_folder, tmp_path):
    source, target = tmp_path / "new.csv", tmp_path / "out.parquet"
    source.write_text("id,headline\n7,cat dog horse\n9,bank tax euro\n")
    config = PredictConfig(run=str(run_folder), data=str(source), out=target, columns=("headline",))
    predictions = predict(config)
    frame = pd.read_parquet(target)
    assert frame["id"].tolist() == ["7", "9"]
    assert frame["prediction"].tolist() == ["animals", "money"]
    assert frame["score"].tolist() == [p["score"] for p in predictions]
    assert frame["truncated"].tolist() == [False, False]


def test_the_plan_of_a_large_table_is_told(run_folder, tmp_path):
    source = tmp_path / "new.csv"
    source.write_text("title,description\n" + "cat,dog horse and a bank\n" * 600)
    said: list[str] = []
    config = PredictConfig(run=str(run_folder), data=str(source), out=tmp_path / "out.csv")
    predict(config, said.append)
    (plan,) = said
    assert plan.startswith("600 texts in ")
    assert "% filled" in plan


@pytest.mark.parametrize("settings", [{"resume": True}, {"format": "csv"}])
def test_settings_of_workers_are_refused_without_them(settings, run_folder):
    with pytest.raises(UserError, match=r"is for a job of --workers N"):
        predict(PredictConfig(run=str(run_folder), text=("a",), **settings))
