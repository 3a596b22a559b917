"""Snapshots of a run on many processes, as checkpoints that Ray Train keeps and hands out again."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import ray.train
from flax import serialization
from ray.train.collective import broadcast_from_rank_zero

from bertjax.training.snapshots import Snapshot, arrays_of, refuse_other_settings
from bertjax.training.steps import TrainState

STATE, POSITION = "state.msgpack", "position.json"
_ASKED = 16  # steps between two looks at the clock of the first process


@dataclass
class ReportedSnapshots:
    """A `Keeper`. All processes call it alike; the first one alone writes.

    Args:
        settings: of the run, ready for JSON; a snapshot of other settings is refused.
        every_steps: write after so many steps; 0: by time alone.
        every_seconds: write when so long has passed since the last.
    """

    settings: dict[str, Any]
    every_steps: int = 0
    every_seconds: float = 60.0
    _written: float = field(default_factory=time.monotonic, init=False, repr=False)

    def due(self, step: int) -> bool:
        """Whether the state after update number `step` is to be written: of all, or of none."""
        if self.every_steps:
            return step % self.every_steps == 0
        if step % _ASKED:
            return False
        passed = time.monotonic() - self._written >= self.every_seconds
        return bool(broadcast_from_rank_zero(passed if _is_first() else None))

    def write(self, snapshot: Snapshot) -> None:
        with tempfile.TemporaryDirectory() as folder:
            if _is_first():
                arrays = {"state": arrays_of(snapshot.state), "best": snapshot.best_params}
                state = serialization.to_bytes(jax.device_get(arrays))
                (Path(folder) / STATE).write_bytes(state)
                position = {**snapshot.position, "settings": self.settings}
                (Path(folder) / POSITION).write_text(json.dumps(position), encoding="utf-8")
            report(folder)
        self._written = time.monotonic()

    def read(self, template: Callable[[], TrainState]) -> Snapshot | None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            if not (Path(folder) / POSITION).exists():  # the run folder: only its copying was lost
                return None
            text = (Path(folder) / POSITION).read_text(encoding="utf-8")
            state = (Path(folder) / STATE).read_bytes()
        position = json.loads(text)
        refuse_other_settings(position.pop("settings"), self.settings, checkpoint.path)
        like = template()
        best = None if position["best"] is None else like.params
        arrays = serialization.from_bytes({"state": arrays_of(like), "best": best}, state)
        return Snapshot(like.replace(**arrays["state"]), arrays["best"], position)

    def close(self) -> None:
        """Nothing is written in the background."""


def report(folder: str, metrics: dict[str, float] | None = None) -> None:
    """Give the first process's folder to Ray Train; all processes call this alike."""
    checkpoint = ray.train.Checkpoint.from_directory(folder) if _is_first() else None
    ray.train.report(metrics or {}, checkpoint=checkpoint)


def _is_first() -> bool:
    return ray.train.get_context().get_world_rank() == 0
