"""The loop: epochs of steps, evaluation, the best state, early stopping, snapshots, progress."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.training.interrupt import interrupt_flag
from bertjax.training.losses import Batch
from bertjax.training.parallel import Runner
from bertjax.training.progress import Progress
from bertjax.training.snapshots import Snapshot, Snapshots
from bertjax.training.steps import TrainState

Ending = Literal["finished", "early", "interrupted", "not finite"]


@dataclass(frozen=True)
class LoopConfig:
    """How long to train, and which state to keep."""

    epochs: int
    steps: int  # an epoch
    metric: str = "weighted_f1"  # decides which state is best; a `...loss` is better when lower
    patience: int = 0  # epochs without a better state before stopping; 0: never
    log_every: int = 5  # steps between two looks at the loss; the only waits for the device


@dataclass
class Position:
    """Where the loop stands: all of it that is not in the TrainState."""

    epoch: int = 0
    step: int = 0  # of the epoch, the next to be run
    best: float | None = None  # of the metric
    best_epoch: int = 0  # counted from 1
    history: list[dict[str, float]] = field(default_factory=list)  # a record an epoch


@dataclass(frozen=True)
class FitResult:
    """What training ended with."""

    params: Any  # the best by the metric, or the last if nothing was evaluated
    history: list[dict[str, float]]
    best: float | None
    best_epoch: int
    ending: Ending
    message: str  # one line on why it ended, "" if finished
    steps: int  # updates in all


def fit(
    config: LoopConfig,
    runner: Runner,
    state: TrainState,
    batches: Callable[[int], Iterable[Batch]],
    evaluate: Callable[[Any], dict[str, float]] | None = None,
    snapshots: Snapshots | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train for `config.epochs`, from the newest snapshot if there is one.

    Args:
        state: before the first step; it is copied, not used up.
        batches: the batches of an epoch, counted from 0; the same ones each time it is asked.
        evaluate: parameters -> metrics, after each epoch; None: the last state is kept.
        snapshots: where to read and write snapshots; None: nowhere.
    """
    loop = _Loop(config, runner, runner.place(state), evaluate, snapshots, progress)
    loop.resume()
    with interrupt_flag() as interrupted:
        ending, message = loop.run(batches, interrupted)
    if snapshots is not None:
        snapshots.close()
    position = loop.position
    return FitResult(
        params=runner.collect(loop.state.params) if loop.best_params is None else loop.best_params,
        history=position.history,
        best=position.best,
        best_epoch=position.best_epoch,
        ending=ending,
        message=message,
        steps=position.epoch * config.steps + position.step,
    )


class _Loop:
    """The state of one `fit`, which its methods advance."""

    def __init__(self, config, runner, state, evaluate, snapshots, progress):
        self.config: LoopConfig = config
        self.runner: Runner = runner
        self.state: TrainState = state
        self.evaluate: Callable[[Any], dict[str, float]] | None = evaluate
        self.snapshots: Snapshots | None = snapshots
        self.progress: Progress | None = progress
        self.position = Position()
        self.best_params: Any | None = None

    def resume(self) -> None:
        snapshot = None
        if self.snapshots:
            snapshot = self.snapshots.read(self.state, self.runner.collect(self.state.params))
        if snapshot is not None:
            self.state, self.best_params = snapshot.state, snapshot.best_params
            self.position = Position(**snapshot.position)
        if self.progress:
            self.progress.start(self.position.epoch * self.config.steps + self.position.step)

    def run(self, batches, interrupted: Callable[[], bool]) -> tuple[Ending, str]:
        position = self.position
        for epoch in range(position.epoch, self.config.epochs):
            losses: list[jax.Array] = []
            for number, batch in enumerate(batches(epoch)):
                if number < position.step:
                    continue  # already done before the snapshot
                tokens = int(np.count_nonzero(batch["segment_ids"]))
                self.state, metrics = self.runner.step(self.state, batch)
                position.step = number + 1
                losses.append(metrics["loss"])
                look = position.step % self.config.log_every == 0
                if look or position.step == self.config.steps:
                    problem = _problem(metrics, epoch, position.step)
                    if problem:
                        return "not finite", problem
                if self.progress:
                    self.progress.step(tokens, float(metrics["loss"]) if look else None)
                if interrupted():
                    return "interrupted", f"stopped in epoch {epoch + 1} at step {position.step}"
                if self.snapshots and self.snapshots.due(epoch * self.config.steps + number + 1):
                    self._snapshot()
            position.epoch, position.step = epoch + 1, 0
            if self._end_epoch(losses):
                return "early", (
                    f"stopped early: {self.config.metric} was best in epoch {position.best_epoch}"
                )
        return "finished", ""

    def _end_epoch(self, losses: list[jax.Array]) -> bool:
        """Evaluate, keep the state if it is the best; whether to stop."""
        position, config = self.position, self.config
        record: dict[str, float] = {"epoch": position.epoch}
        if losses:
            record["train_loss"] = float(np.mean(jax.device_get(losses)))
        if self.evaluate is not None:
            params = self.runner.collect(self.state.params)
            record |= self.evaluate(params)
            if _better(config.metric, record[config.metric], position.best):
                position.best, position.best_epoch = record[config.metric], position.epoch
                self.best_params = jax.tree.map(jnp.copy, params)  # the next step uses them up
        position.history.append(record)
        if self.progress:
            self.progress.epoch(record)
        stale = position.epoch - position.best_epoch
        return self.evaluate is not None and 0 < config.patience <= stale

    def _snapshot(self) -> None:
        assert self.snapshots is not None
        self.snapshots.write(Snapshot(self.state, self.best_params, asdict(self.position)))


def _better(metric: str, value: float, best: float | None) -> bool:
    if best is None:
        return True
    return value < best if metric.endswith("loss") else value > best


def _problem(metrics: dict[str, jax.Array], epoch: int, step: int) -> str:
    """One line if the loss or the gradient is not a number any more."""
    for name in ("loss", "grad_norm"):
        value = float(metrics[name])
        if not math.isfinite(value):
            what = {"loss": "the loss", "grad_norm": "the norm of the gradient"}[name]
            return (
                f"{what} is {value} in epoch {epoch + 1} at step {step}: use a lower "
                "--learning-rate, or look for damaged rows in the data"
            )
    return ""
