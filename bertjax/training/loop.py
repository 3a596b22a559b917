"""The loop: epochs of steps, evaluation, the best state, early stopping, snapshots, progress."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from bertjax.training.interrupt import interrupt_flag
from bertjax.training.losses import Batch, without_rows_of
from bertjax.training.parallel import Runner, copied
from bertjax.training.prefetch import prefetch
from bertjax.training.progress import Listener
from bertjax.training.snapshots import Keeper, Snapshot
from bertjax.training.steps import Metrics, TrainState
from bertjax.training.stopwatch import Stopwatch

Ending = Literal["finished", "early", "interrupted", "not finite"]

# Between two looks the host runs ahead of the device, so more batches are ready than the steps of
# `LoopConfig.log_every`, by its default.
AHEAD = 8


@dataclass(frozen=True)
class LoopConfig:
    """How long to train, and which state to keep."""

    epochs: int
    steps: int  # an epoch
    metric: str = "weighted_f1"  # decides which state is best; a `...loss` is better when lower
    patience: int = 0  # epochs without a better state before stopping; 0: never
    # Steps between two looks at the loss, which wait for the device, as do snapshots, the ends of
    # epochs and evaluation.
    log_every: int = 5


@dataclass
class Position:
    """Where the loop stands: all of it that is not in the TrainState."""

    epoch: int = 0
    step: int = 0  # of the epoch, the next to be run
    best: float | None = None  # of the metric
    best_epoch: int = 0  # counted from 1
    losses: list[float] = field(default_factory=list)  # of the epoch's steps up to the last look
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
    input_wait_share: float  # of the time of the steps, compilation apart, that went into waiting


def fit(
    config: LoopConfig,
    runner: Runner,
    state: TrainState,
    batches: Callable[[int], Iterable[Batch]],
    evaluate: Callable[[Any], dict[str, float]] | None = None,
    snapshots: Keeper | None = None,
    progress: Listener | None = None,
) -> FitResult:
    """Train for `config.epochs`, from the newest snapshot if there is one.

    Args:
        state: before the first step, as the runner has placed it; it is used up.
        batches: the batches of an epoch, counted from 0; the same ones each time it is asked.
            They are made ahead in a thread.
        evaluate: parameters -> metrics, after each epoch; None: the last state is kept. The
            parameters are used up by the next step.
        snapshots: where to read and write snapshots; None: nowhere. One is written on Ctrl-C too.

    Raises:
        UserError: the snapshot is of a run with other settings.
        ValueError: `evaluate` gave no `config.metric`.
        What `batches`, `evaluate` and `progress` raise.
    """
    loop = _Loop(config, runner, state, evaluate, snapshots, progress)
    try:
        loop.resume()
        with interrupt_flag() as interrupted:
            ending, message = loop.run(batches, interrupted)
    finally:
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
        input_wait_share=loop.input_wait_share(),
    )


class _Ready(NamedTuple):
    """A batch on its way to the device."""

    batch: Batch
    tokens: int  # real ones


class _Loop:
    """The state of one `fit`, which its methods advance."""

    def __init__(self, config, runner, state, evaluate, snapshots, progress):
        self.config: LoopConfig = config
        self.runner: Runner = runner
        self.state: TrainState = state
        self.evaluate: Callable[[Any], dict[str, float]] | None = evaluate
        self.snapshots: Keeper | None = snapshots
        self.progress: Listener | None = progress
        self.position = Position()
        self.best_params: Any | None = None
        self.unseen: list[Metrics] = []  # of the steps since the last look
        self.seen: list[dict[str, float]] = []  # figures of the steps that the last look saw
        self.stepping = Stopwatch()  # from epoch's beginning to its last step's end
        self.compiling = Stopwatch()
        self.waiting = Stopwatch()

    def resume(self) -> None:
        snapshot = None
        if self.snapshots:
            snapshot = self.snapshots.read(lambda: self.runner.collect(self.state))
        if snapshot is not None:
            begun, self.state = self.state, self.runner.place(snapshot.state)
            jax.tree.map(lambda x: x.delete(), begun)  # the caller may still hold it
            self.best_params = snapshot.best_params
            self.position = Position(**snapshot.position)
        if self.progress:
            self.progress.start(self._steps_done(), self.config.epochs * self.config.steps)

    def run(self, batches, interrupted: Callable[[], bool]) -> tuple[Ending, str]:
        position = self.position
        with closing(prefetch(self._input(batches), self._ready, AHEAD)) as ready:
            for _ in range(position.epoch, self.config.epochs):
                with self.stepping:
                    ended = self._epoch(ready, interrupted)
                if ended:
                    return ended
                if problem := self._end_epoch():
                    return "not finite", problem
                if self._stale():
                    return "early", (
                        f"stopped early: {self.config.metric} was best in epoch "
                        f"{position.best_epoch}"
                    )
        return "finished", ""

    def _input(self, batches) -> Iterator[Batch | None]:
        """All batches that are still to be trained on, and None after each epoch."""
        done = self.position.step
        for epoch in range(self.position.epoch, self.config.epochs):
            yield from islice(batches(epoch), done, None)
            yield None
            done = 0

    def _ready(self, batch: Batch | None) -> _Ready | None:
        if batch is None:
            return None
        tokens = int(np.count_nonzero(batch["segment_ids"]))
        return _Ready(self.runner.place_batch(without_rows_of(batch)), tokens)

    def _epoch(
        self, ready: Iterator[_Ready | None], interrupted: Callable[[], bool]
    ) -> tuple[Ending, str] | None:
        """The steps of an epoch that are left; why training ends with them, if it does."""
        position = self.position
        while item := self._next(ready):
            self._step(item.batch)
            position.step += 1
            stop = interrupted()
            save = stop or (self.snapshots and self.snapshots.due(self._steps_done()))
            last = position.step == self.config.steps
            look = save or last or position.step % self.config.log_every == 0
            if look and (problem := self._look()):
                return "not finite", problem
            if self.progress:
                self.progress.step(item.tokens, self.seen if look else ())
            if save:
                self._snapshot()
            if stop:
                where = f"in epoch {position.epoch + 1} at step {position.step}"
                return "interrupted", f"stopped {where}"
        problem = self._look()
        return ("not finite", problem) if problem else None

    def _next(self, ready: Iterator[_Ready | None]) -> _Ready | None:
        with self.waiting:
            return next(ready)

    def _step(self, batch: Batch) -> None:
        with nullcontext() if self.compiling.seconds else self.compiling:
            self.state, metrics = self.runner.step(self.state, batch)
        self.unseen.append(metrics)

    def input_wait_share(self) -> float:
        running = self.stepping.seconds - self.compiling.seconds
        return self.waiting.seconds / running if running > 0 else 0.0

    def _steps_done(self) -> int:
        return self.position.epoch * self.config.steps + self.position.step

    def _look(self) -> str:
        """Wait for the steps since the last look; one line if one was not finite.

        Every step is looked at: a later one may be finite again, and the state is damaged still.
        """
        losses = self.position.losses
        unseen, self.unseen = jax.device_get(self.unseen), []
        self.seen = [
            {name: float(metrics[name]) for name in ("loss", "grad_norm")} for metrics in unseen
        ]
        for figures in self.seen:
            losses.append(figures["loss"])
            problem = _problem(
                {"the loss": losses[-1], "the norm of the gradient": figures["grad_norm"]},
                f"in epoch {self.position.epoch + 1} at step {len(losses)}",
            )
            if problem:
                return problem
        return ""

    def _end_epoch(self) -> str:
        """Evaluate, keep the state if it is the best; one line if its metric is not finite."""
        position, metric = self.position, self.config.metric
        record: dict[str, float] = {"epoch": position.epoch + 1}
        if position.losses:
            record["train_loss"] = float(np.mean(position.losses))
        position.epoch, position.step, position.losses = position.epoch + 1, 0, []
        problem = ""
        if self.evaluate is not None:
            params = self.runner.collect(self.state.params)
            scores = {name: float(value) for name, value in self.evaluate(params).items()}
            if metric not in scores:
                raise ValueError(f"evaluate gave {', '.join(scores)}: {metric!r} is not among them")
            record |= scores
            checked = {name: scores[name] for name in ("loss", metric) if name in scores}
            problem = _problem(checked, f"when evaluated after epoch {position.epoch}")
            if not problem and _better(metric, scores[metric], position.best):
                position.best, position.best_epoch = scores[metric], position.epoch
                self.best_params = copied(params)  # the next step uses them up
        position.history.append(record)
        if self.progress:
            self.progress.epoch(record)
        return problem

    def _stale(self) -> bool:
        """Whether to stop early."""
        position, config = self.position, self.config
        if self.evaluate is None or position.epoch == config.epochs:
            return False
        return 0 < config.patience <= position.epoch - position.best_epoch

    def _snapshot(self) -> None:
        if self.snapshots:
            state = self.runner.collect(self.state)
            self.snapshots.write(Snapshot(state, self.best_params, asdict(self.position)))


def _better(metric: str, value: float, best: float | None) -> bool:
    if best is None:
        return True
    return value < best if metric.endswith("loss") else value > best


def _problem(values: dict[str, float], where: str) -> str:
    """One line if a value is not a finite number."""
    for name, value in values.items():
        if not math.isfinite(value):
            return (
                f"{name} is {value} {where}: use a lower --learning-rate, or look for damaged "
                "rows in the data"
            )
    return ""
