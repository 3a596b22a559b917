"""A store that is away for a while loses nothing; one that stays away is told of."""

from types import SimpleNamespace

import pytest

from bertjax.tracking import run_log
from bertjax.tracking.run_log import RunLog, open_log
from bertjax.tracking.store import client_of
from bertjax.tracking.trials import log_trial

OPENING = {"name": "x", "out": "/runs/x", "resume": False, "kind": "finetune", "patience": 0.0}


class Store:
    """A client whose store is away for its next `away` calls."""

    def __init__(self, away: int = 0):
        self.away = away
        self.values: list[float] = []
        self.status = ""

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise ConnectionError("Connection refused")

    def create_run(self, experiment, tags, run_name):
        self._answer()
        return SimpleNamespace(info=SimpleNamespace(run_id="1", artifact_uri="/files"))

    def log_batch(self, run_id, metrics=(), params=(), tags=()) -> None:
        self._answer()
        self.values += [metric.value for metric in metrics]

    def set_terminated(self, run_id, status) -> None:
        self._answer()
        self.status = status


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(run_log, "_PAUSE", 0.0)


def test_metrics_are_kept_while_the_store_is_away_and_sent_in_order():
    store = Store()
    log = RunLog(store, "0", OPENING)
    log.settings({"epochs": 2}, {})
    store.away = 2
    for step in range(3):
        log.metrics({"loss": float(step)}, step, 0)
        log.try_to_send()
    log.end("FINISHED")
    assert store.values == [0.0, 1.0, 2.0]
    assert store.status == "FINISHED"
    assert log.lost == {}


def test_a_store_that_comes_back_in_time_loses_nothing():
    log = RunLog(Store(away=3), "0", {**OPENING, "patience": 60.0})
    log.settings({"epochs": 2}, {})
    assert log.run_id == ""
    log.end("FINISHED")
    assert log.run_id == "1"
    assert log.lost == {}


def test_what_a_store_that_stays_away_has_not_taken_is_told():
    store = Store()
    log = RunLog(store, "0", OPENING)
    log.settings({}, {})
    store.away = 10**9
    log.metrics({"loss": 1.0, "grad_norm": 2.0}, 1, 0)
    log.end("FINISHED")
    assert log.lost == {
        "2 metrics": "connection refused",
        "its end": "connection refused",
    }


def test_a_resumed_training_goes_on_with_its_run_and_trials_lie_under_it(store):
    opening = {**OPENING, "store": store, "experiment": "e", "patience": 5.0}
    first = open_log(opening)
    first.settings({"epochs": 2}, {})
    first.end("KILLED")
    other = open_log({**opening, "out": "/runs/y", "resume": True})
    other.settings({"epochs": 2}, {})
    again = open_log({**opening, "resume": True})
    again.settings({"epochs": 2}, {})
    assert again.run_id == first.run_id != other.run_id

    trial = {"name": "trial 1", "status": "failed", "params": {"warmup": "0.1"}, "seconds": 2.0}
    epochs = [(1, {"validation_loss": 0.9}), (2, {"validation_loss": 0.4})]
    metrics = {"best_loss": 0.4}
    log_trial(again, {**trial, "metrics": metrics, "epochs": epochs, "error": "no memory"})
    again.end("FINISHED")
    nested = [
        run
        for run in client_of(store).search_runs([again.experiment])
        if run.data.tags.get("mlflow.parentRunId") == again.run_id
    ]
    (found,) = nested
    assert (found.info.run_name, found.info.status) == ("trial 1", "FAILED")
    assert found.data.params == {"warmup": "0.1"}
    assert found.data.tags["error"] == "no memory"
    assert found.data.metrics == {"best_loss": 0.4, "validation_loss": 0.4}
    losses = client_of(store).get_metric_history(found.info.run_id, "validation_loss")
    assert [(metric.step, metric.value) for metric in losses] == [(1, 0.9), (2, 0.4)]
    assert found.info.end_time - found.info.start_time == 2000
    assert client_of(store).get_run(again.run_id).info.status == "FINISHED"
