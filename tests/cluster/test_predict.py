"""Predictions of whole tables on Ray: as one process makes them, and through what goes wrong."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest

from bertjax.cli import main
from bertjax.cluster import output
from bertjax.cluster import predict as module
from bertjax.cluster.labelled import Labeller
from bertjax.cluster.predict import predict
from bertjax.errors import UserError
from bertjax.workflows.configs import PredictConfig, WorkersConfig
from bertjax.workflows.predict import predict as predict_alone

# Ray Data's settings warn of themselves as soon as it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


def config(run, data, out, workers=1, **settings) -> PredictConfig:
    return PredictConfig(
        run=str(run), data=str(data), out=out, cluster=WorkersConfig(workers=workers), **settings
    )


def texts(rows: int, path: Path) -> pd.DataFrame:
    words = ("cat", "dog", "bank", "euro", "rain", "snow")
    frame = pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(rows)],
            "title": [words[i % 6] for i in range(rows)],
            "description": [" ".join(words[: i % 7]) for i in range(rows)],
        }
    )
    frame.to_parquet(path)
    return frame


def assert_as_alone(found: pd.DataFrame, run: Path, data: Path, scratch: Path) -> None:
    predict_alone(PredictConfig(run=str(run), data=str(data), out=scratch, overwrite=True))
    alone = pd.read_parquet(scratch) if scratch.suffix == ".parquet" else pd.read_csv(scratch)
    assert found["row"].tolist() == list(range(len(alone)))
    assert list(found.drop(columns=["file", "row"]).columns) == list(alone.columns)
    for name in alone.columns:
        if name == "score" or name.startswith("probability of "):
            np.testing.assert_allclose(found[name], alone[name], atol=1e-5)
        else:
            assert found[name].tolist() == alone[name].tolist()


def worker_pids() -> set[int]:
    """The processes of workers, among those that this one has started."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # one that was killed may still be a zombie
            if "MapWorker" in "".join(process.cmdline()):
                found.add(process.pid)
    return found


def test_a_broken_file_in_the_middle(ray_here, run_folder, table_file, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "deep").mkdir(parents=True)
    (data / "a.csv").write_bytes(table_file.read_bytes())
    (data / "b.csv").write_text("title,description\na,b\nc,d,e\n")
    (data / "c.csv").write_text("title,description\n")
    (data / "deep" / "d.csv").write_bytes(b"title,description,id\ncaf\xe9,x,1\ncat,a cat,2\n")
    arguments = ["predict", str(run_folder), "--data", str(data), "--out", str(out)]
    assert main([*arguments, "--workers", "2"]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert f"predicted 61 rows into {out}; 1 failed, see {out / 'failed.jsonl'}" in message
    last = message.strip().splitlines()[-1]
    assert last.startswith(f"bertjax: {data / 'b.csv'} is not a well-formed .csv")
    assert "--resume" in last
    assert_as_alone(pd.read_csv(out / "a.csv"), run_folder, data / "a.csv", tmp_path / "a.csv")
    assert len(pd.read_csv(out / "c.csv")) == 0
    (row,) = pd.read_csv(out / "deep" / "d.csv").to_dict("records")
    assert (row["id"], row["row"], row["prediction"]) == (2, 1, "animals")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.csv")}
    assert sorted(p.name for p in before) == ["a.csv", "c.csv", "d.csv"]

    (data / "b.csv").write_text("title,description\nbank,tax\n")
    assert main([*arguments, "--workers", "1", "--resume"]) == 0
    assert "3 of 4 files are finished already" in capsys.readouterr().err
    assert pd.read_csv(out / "b.csv")["prediction"].tolist() == ["money"]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    (failure,) = map(json.loads, (out / "failed.jsonl").read_text().splitlines())
    assert (failure["file"], failure["row"]) == (str(data / "deep" / "d.csv"), 0)
    assert failure["values"] == {"title": "caf\\xe9", "description": "x", "id": "1"}


def test_a_worker_that_is_killed_loses_and_doubles_no_row(
    ray_here, run_folder, tmp_path, monkeypatch
):
    data, out = tmp_path / "big.parquet", tmp_path / "out"
    texts(12_000, data)
    seen: list[set[int]] = []

    class Killing(output.Output):
        def add(self, chunk, failed):
            super().add(chunk, failed)
            seen.append(worker_pids())
            if len(seen) == 1:
                for pid in seen[0]:
                    os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(module, "Output", Killing)
    monkeypatch.setattr(module, "CHUNKS", 1)
    monkeypatch.setattr(output, "PART", 4096)
    counts = predict(config(run_folder, data, out))
    assert (counts.predicted, counts.failed) == (12_000, 0)
    assert len(set.union(*seen)) > len(seen[0]) == 1  # another one took its place
    parts = sorted((out / "big.parquet").iterdir())
    assert [p.name for p in parts] == [f"part-{i:05d}.parquet" for i in range(3)]
    found = pd.read_parquet(out / "big.parquet")
    assert_as_alone(found, run_folder, data, tmp_path / "alone.parquet")
    assert set(found["file"]) == {str(data)}


def test_a_job_that_was_killed_goes_on_behind_its_last_part(
    ray_here, run_folder, tmp_path, monkeypatch
):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    texts(10, data / "a.parquet")
    frame = texts(5000, data / "b.parquet")
    script = Path(__file__).with_name("killed_job.py")
    command = [sys.executable, str(script), str(run_folder), str(data), str(out), "3", "2048"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = str(Path(module.__file__).parents[2])
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "b.parquet").exists()
    finished = (out / "a.parquet").stat().st_mtime_ns

    asked: list[dict[str, int]] = []
    stream = module.stream_chunks

    def spy(files, *others, **more):
        asked.append(dict(files))
        return stream(files, *others, **more)

    monkeypatch.setattr(module, "stream_chunks", spy)
    monkeypatch.setattr(output, "PART", 2048)
    counts = predict(config(run_folder, data, out, resume=True))
    assert asked == [{str(data / "b.parquet"): 4096}]
    assert counts.predicted == 5000 - 4096
    assert (out / "a.parquet").stat().st_mtime_ns == finished
    found = pd.read_parquet(out / "b.parquet")
    assert found["id"].tolist() == frame["id"].tolist()
    assert found["row"].tolist() == list(range(5000))
    assert sorted(p.name for p in out.iterdir()) == [".predict.json", "a.parquet", "b.parquet"]


def test_workers_that_die_again_and_again_end_the_job(ray_here, run_folder, tmp_path, monkeypatch):
    class Dying(Labeller):
        def _load(self):
            return None

        def __call__(self, batch):
            if isinstance(self.predictor, UserError):
                raise self.predictor
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(module, "Labeller", Dying)
    monkeypatch.setattr(module, "RESTARTS", 1)
    with pytest.raises(UserError, match=r"workers died again and again.*--resume") as error:
        predict(config(run_folder, "sample", tmp_path / "out", columns=("title",)))
    assert "\n" not in str(error.value)


def test_a_worker_without_memory_ends_the_job(
    ray_here, run_folder, tmp_path, monkeypatch, wait_for_free_cores
):
    class Greedy(Labeller):
        def _load(self):
            return None

        def __call__(self, batch):
            return np.zeros(2**58)

    monkeypatch.setattr(module, "Labeller", Greedy)
    with pytest.raises(UserError, match=r"predicting sample ran out of memory: use fewer") as error:
        predict(config(run_folder, "sample", tmp_path / "out", columns=("title",)))
    assert "\n" not in str(error.value)
    # Its core is free again, though the error is still held here.
    wait_for_free_cores()


def test_the_sample_in_another_format(ray_here, run_folder, tmp_path, monkeypatch):
    class Constant(Labeller):
        def _load(self):
            from bertjax.serving.predictor import Predictor

            class Same(Predictor):
                labels = ("x", "y")

                def __init__(self):
                    pass

                def __call__(self, texts, say=None):
                    one = {"x": 0.25, "y": 0.75}
                    made = SimpleNamespace(prediction="y", score=0.75, probabilities=one)
                    return [{**vars(made), "truncated": False} for _ in texts]

            return Same()

    monkeypatch.setattr(module, "Labeller", Constant)
    out = tmp_path / "out"
    predict(config(run_folder, "sample", out, columns=("title",), format="jsonl"))
    rows = [json.loads(line) for line in (out / "sample.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(525))
    assert {row["probability of y"] for row in rows} == {0.75}
    assert {row["file"] for row in rows} == {"sample"}


def test_more_workers_than_cores_are_refused(ray_here, run_folder, table_file, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="--workers 999 needs as many cores, and the cluster has"):
        predict(config(run_folder, table_file, out, workers=999))
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"text": ("a",)}, "predict a table"),
        ({"data": None}, "predict a table"),
        ({"out": None}, "--out FOLDER"),
        ({"cluster": WorkersConfig(workers=-1)}, "--workers is -1"),
        ({"run": "no/such/run"}, "no/such/run"),
        ({"cluster": WorkersConfig(workers=1, ray_address="127.0.0.1:1")}, "no Ray cluster"),
    ],
)
def test_refusals(settings, expected, run_folder, table_file, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    given = {"run": str(run_folder), "data": str(table_file), "out": tmp_path / "out"}
    given |= {"cluster": WorkersConfig(workers=1), **settings}
    with pytest.raises(UserError, match=expected):
        predict(PredictConfig(**given))
    assert not (tmp_path / "out").exists()


def test_names_that_would_meet_are_refused(run_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("x\n")
    with pytest.raises(UserError, match="lies in --data"):
        predict(config(run_folder, data, data / "out"))
    (data / "a.CSV").write_text("x\n")
    with pytest.raises(UserError, match="two files"):
        predict(config(run_folder, data, tmp_path / "out", format="tsv"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "failed.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"failed\.jsonl is the name"):
        predict(config(run_folder, other, tmp_path / "out"))
