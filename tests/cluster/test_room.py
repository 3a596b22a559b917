"""How many trials fit on the machines of a cluster."""

from pathlib import Path

import pytest
import ray

from bertjax.cluster.room import room_for_trials
from bertjax.errors import UserError
from bertjax.workflows.tune_configs import TuneConfig


def room(monkeypatch, nodes: list[dict[str, float]], going_on: bool = False, **settings) -> int:
    found = [{"Alive": True, "Resources": node} for node in nodes]
    lost = {"Alive": False, "Resources": {"CPU": 64, "GPU": 8}}
    monkeypatch.setattr(ray, "nodes", lambda: [*found, lost])
    return room_for_trials(TuneConfig(data="sample", out=Path("x"), **settings), going_on)


@pytest.mark.parametrize(
    ("nodes", "settings", "expected"),
    [
        ([{"CPU": 4}], {}, 4),
        ([{"CPU": 4}], {"trials": 3}, 3),
        ([{"CPU": 4}], {"concurrent": 2}, 2),
        ([{"CPU": 3}, {"CPU": 3}], {"trial_cores": 2}, 2),  # a trial has its cores on one machine
        ([{"CPU": 8, "GPU": 3}], {"trial_gpus": 0.5}, 6),
        ([{"CPU": 8, "GPU": 3}], {"trial_gpus": 0.4}, 6),  # and its share on one GPU
        ([{"CPU": 8, "GPU": 3}, {"CPU": 8, "GPU": 1}], {"trial_gpus": 2.0}, 1),
        ([{"CPU": 2, "GPU": 8}], {"trial_gpus": 1.0}, 2),
    ],
)
def test_trials_fit_machine_by_machine(nodes, settings, expected, monkeypatch):
    assert room(monkeypatch, nodes, **settings) == expected


def test_more_than_fit_are_refused_with_what_is_there(monkeypatch):
    with pytest.raises(UserError) as refused:
        room(monkeypatch, [{"CPU": 2}, {"CPU": 2}], concurrent=8)
    assert str(refused.value) == (
        "--concurrent 8 trials with --trial-cores 1 do not fit: the cluster has 4 cores on 2 "
        "machines, room for 4 at once"
    )


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(UserError, match="has 4 cores and 0 GPUs, room for 0 at once"):
        room(monkeypatch, [{"CPU": 4}], trial_gpus=1.0)


def test_a_search_that_goes_on_needs_room_for_one(monkeypatch):
    assert room(monkeypatch, [{"CPU": 2}], going_on=True, concurrent=4) == 4
    with pytest.raises(UserError, match="--concurrent 1 trials with --trial-cores 3 do not fit"):
        room(monkeypatch, [{"CPU": 2}], going_on=True, concurrent=4, trial_cores=3)
