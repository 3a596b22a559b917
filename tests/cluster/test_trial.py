"""What a trial tells Ray Tune, and when."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray.tune

from bertjax.checkpoints.run_file import RunFile, write_run_file
from bertjax.cluster import trial
from bertjax.cluster.trial import best_record, run_trial, trial_config
from bertjax.workflows.configs import FinetuneConfig

HISTORY = [
    {"epoch": 1, "accuracy": 0.5, "loss": 0.9},
    {"epoch": 2, "accuracy": 0.8, "loss": 0.6},
    {"epoch": 3, "accuracy": 0.8, "loss": 0.7},
]
CONFIG = FinetuneConfig(data="sample", out=Path("x"), epochs=3, metric="accuracy")


@pytest.fixture
def told(monkeypatch) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    monkeypatch.setattr(ray.tune, "report", found.append)
    return found


def test_the_best_epoch_is_the_one_whose_state_is_kept():
    assert best_record(HISTORY, "accuracy")["epoch"] == 2
    assert best_record(HISTORY, "loss")["epoch"] == 2
    assert best_record(HISTORY[::-1], "loss")["epoch"] == 2


def test_a_trial_takes_the_numbers_of_numpy():
    settings = {"batch_size": np.int64(8), "learning_rate": np.float64(1e-3), "decay": "cosine"}
    config = trial_config(CONFIG, settings, Path("runs/a"))
    json.dumps([config.batch_size, config.optimizer.learning_rate])
    assert (config.batch_size, config.optimizer.learning_rate) == (8, 1e-3)
    assert (config.optimizer.decay, config.out, config.epochs) == ("cosine", Path("runs/a"), 3)


def test_each_epoch_is_told_with_the_best_so_far_but_the_last(told):
    reporter = trial._Reporter(CONFIG)
    reporter.start(0, 30)
    for record in HISTORY:
        reporter.step(100, 0.5)
        reporter.epoch(record)
    assert [(one["epoch"], one["best"], one["best_epoch"]) for one in told] == [
        (1, 0.5, 1),
        (2, 0.8, 2),
    ]
    assert not any(one["ended"] for one in told)
    assert [one["history"] for one in told] == [HISTORY[:1], HISTORY[:2]]


def test_a_run_that_is_there_already_is_told_and_not_run_again(told, tmp_path):
    write_run_file(tmp_path, RunFile(training={"history": HISTORY}))
    run_trial(replace(CONFIG, data="no/such.csv", out=tmp_path))
    best = {"best": 0.8, "best_epoch": 2}
    assert told == [{**HISTORY[2], **best, "history": HISTORY, "ended": True}]
