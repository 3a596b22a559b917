"""One trial of a search: the finetune workflow in a process of its own, which Ray Tune starts."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ray.tune

from bertjax.process import prepare_process, run_in_turn
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import convert, with_settings

# What a trial reports besides the figures of an epoch; the history has those of all so far.
BEST, BEST_EPOCH, HISTORY, ENDED = "best", "best_epoch", "history", "ended"


def make_trainable(base: FinetuneConfig, folder: Path, cores: int, gpus: float) -> Callable:
    """What Ray Tune calls with the settings of a trial.

    Args:
        base: the settings that all trials share.
        folder: of the trials' run folders, each of which has the id of its trial as its name.
        cores, gpus: of a trial.
    """

    def trial(settings: dict[str, Any]) -> None:  # Ray finds it again by this name
        _prepare(cores, gpus)
        name = ray.tune.get_context().get_trial_id()
        assert name is not None
        run_trial(trial_config(base, settings, folder / name))

    return ray.tune.with_resources(trial, {"cpu": cores, "gpu": gpus})


def trial_config(base: FinetuneConfig, settings: dict[str, Any], out: Path) -> FinetuneConfig:
    """Of a trial with these settings, which the search engines may have as numbers of numpy."""
    values = {name: convert(name, value) for name, value in settings.items()}
    return replace(with_settings(base, values), out=out)


def run_trial(config: FinetuneConfig) -> None:
    """Fine-tune, and report each epoch; go on where a search was cut off."""
    from bertjax.checkpoints.run_file import read_run_file
    from bertjax.workflows.finetune import finetune

    if not config.out.exists():  # else the search was cut off before Ray Tune took note of the end
        finetune(replace(config, resume=True), verbose=False, listener=_Reporter(config))
    run = read_run_file(config.out)
    assert run is not None
    ray.tune.report({**_describe(run.training["history"], config.metric), ENDED: True})


def best_record(history: list[dict[str, float]], metric: str) -> dict[str, float]:
    """The record of the epoch whose state is kept."""
    choose = min if metric == "loss" else max
    return choose(history, key=lambda record: record[metric])


class _Reporter:
    """A listener of the loop that tells Ray Tune of each epoch.

    The last is told once the run folder is there: a trial that is stopped then has left its model.
    """

    def __init__(self, config: FinetuneConfig):
        self._config = config
        self._history: list[dict[str, float]] = []

    def start(self, done: int, total: int) -> None:
        """Only epochs are told."""

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        """Only epochs are told."""

    def epoch(self, record: dict[str, float]) -> None:
        self._history.append(record)
        if record["epoch"] < self._config.epochs:
            ray.tune.report({**_describe(self._history, self._config.metric), ENDED: False})


def _describe(history: list[dict[str, float]], metric: str) -> dict[str, Any]:
    """The figures of the last epoch, what was best, and all epochs."""
    best = best_record(history, metric)
    return {**history[-1], BEST: best[metric], BEST_EPOCH: best["epoch"], HISTORY: [*history]}


@cache  # a process may serve several trials
def _prepare(cores: int, gpus: float) -> None:
    """Have this process use what the trial was given and no more; jax reads it when it starts."""
    os.environ["NPROC"] = str(cores)  # XLA's threads
    if not gpus:
        os.environ["JAX_PLATFORMS"] = "cpu"
    elif gpus < 1:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"
    prepare_process()
    run_in_turn()
