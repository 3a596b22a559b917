"""Predictions of whole tables on Ray."""

import pandas as pd
import pytest, shutil
from bertjax.cluster.predict import predict
from bertjax.workflows.configs import PredictConfig, WorkersConfig
from bertjax.workflows.predict import predict as predict_alone

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


def test_one(ray_here, run_folder, table_file, tmp_path):
    shutil.copytree(run_folder, "/tmp/pr-run", dirs_exist_ok=True)
    shutil.copy(table_file, "/tmp/pr-table.csv")
    alone = tmp_path / "alone.csv"
    config = PredictConfig(run=str(run_folder), data=str(table_file), out=alone)
    predict_alone(config)
    print(
        predict(
            PredictConfig(
                run=str(run_folder),
                data=str(table_file),
                out=tmp_path / "out",
                cluster=WorkersConfig(workers=2),
            ),
            print,
        )
    )
    print(sorted((tmp_path / "out").rglob("*")))
    print(pd.read_csv(tmp_path / "out" / "table.csv").head().to_string())
    print(pd.read_csv(alone).head().to_string())
