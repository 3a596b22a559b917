"""Snapshots of a run that was cut off, through orbax-checkpoint.

A snapshot holds the state after a step, the best parameters so far, and where the loop stood. It
appears whole or not at all, so a kill in mid-write costs the steps since the one before.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

from bertjax.errors import UserError
from bertjax.training.steps import TrainState


class Snapshot(NamedTuple):
    """What a run goes on from."""

    state: TrainState
    best_params: Any | None  # None before the first evaluation
    position: dict[str, Any]  # of the loop, ready for JSON


class Keeper(Protocol):
    """Where the loop keeps snapshots."""

    def due(self, step: int) -> bool:
        """Whether the state after update number `step` is to be written."""
        ...

    def write(self, snapshot: Snapshot) -> None:
        """Begin to write."""
        ...

    def read(self, template: Callable[[], TrainState]) -> Snapshot | None:
        """The newest snapshot, shaped as the template; None if there is none.

        The template takes memory, so it is asked for only then.
        """
        ...

    def close(self) -> None:
        """Wait for what is being written."""
        ...


@dataclass
class Snapshots:
    """The newest snapshot of a run, in a folder of its own.

    Args:
        folder: absolute; made when the first snapshot is written.
        settings: of the run, ready for JSON; a snapshot of other settings is refused.
        every_steps: write after so many steps; 0: by time alone.
        every_seconds: write when so long has passed since the last.
    """

    folder: Path
    settings: dict[str, Any]
    every_steps: int = 0
    every_seconds: float = 60.0
    _manager: Any = field(default=None, init=False, repr=False)
    _written: float = field(default_factory=time.monotonic, init=False, repr=False)

    def due(self, step: int) -> bool:
        """Whether the state after update number `step` is to be written."""
        if self.every_steps:
            return step % self.every_steps == 0
        return time.monotonic() - self._written >= self.every_seconds

    def write(self, snapshot: Snapshot) -> None:
        """Begin to write; the rest happens in the background."""
        import orbax.checkpoint as ocp

        items = {
            "state": ocp.args.StandardSave(arrays_of(snapshot.state)),
            "position": ocp.args.JsonSave({**snapshot.position, "settings": self.settings}),
        }
        if snapshot.best_params is not None:
            items["best"] = ocp.args.StandardSave(snapshot.best_params)
        self._open().save(int(snapshot.state.step), args=ocp.args.Composite(**items))
        self._written = time.monotonic()

    def read(self, template: Callable[[], TrainState]) -> Snapshot | None:
        """The newest snapshot, shaped and placed as the template; None if there is none.

        Raises:
            UserError: it was written with other settings.
        """
        if not self.folder.is_dir():
            return None
        import orbax.checkpoint as ocp

        manager = self._open()
        step = manager.latest_step()
        if step is None:
            return None
        position = manager.restore(
            step, args=ocp.args.Composite(position=ocp.args.JsonRestore())
        ).position
        refuse_other_settings(position.pop("settings"), self.settings, str(self.folder))
        like = template()
        items = {"state": ocp.args.StandardRestore(_abstract(arrays_of(like)))}
        if position["best"] is not None:
            items["best"] = ocp.args.StandardRestore(_abstract(like.params))
        restored = manager.restore(step, args=ocp.args.Composite(**items))
        state = like.replace(**restored.state)
        return Snapshot(state, restored.get("best"), position)

    def close(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def remove(self) -> None:
        """Delete the snapshots of a run that has ended."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(max_to_keep=1)
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        return self._manager


def refuse_other_settings(found: dict[str, Any], wanted: dict[str, Any], where: str) -> None:
    """Raise a UserError if a snapshot was written with other settings than a run has."""
    other = [
        f"{name} was {found.get(name)!r} and is {wanted.get(name)!r}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if other:
        raise UserError(
            f"the snapshot in {where} is of a run with other settings: "
            f"{'; '.join(other)}; give the same settings, or start anew with --overwrite"
        )


def arrays_of(state: TrainState) -> dict[str, Any]:
    """What a step changes; the key follows from the seed, which is among the settings."""
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state}


def _abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
