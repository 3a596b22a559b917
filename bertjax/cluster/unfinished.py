"""Where the rows and snapshots of a run are kept until it is finished."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bertjax.data.storage import exists, remove_folder
from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import check_out

RUN = "training"  # name of Ray Train's folder
_NOTES = "checkpoint_manager_snapshot.json"  # of Ray Train, on the snapshots that it has


@dataclass(frozen=True)
class Unfinished:
    """A run that is going on, or that is to be gone on with."""

    place: str  # a folder that all workers reach

    @classmethod
    def of(cls, config: FinetuneConfig) -> "Unfinished":
        """The folder beside the run folder, or that of --storage; emptied if that was asked for.

        Raises:
            UserError: there is such a run, or a run folder, and neither going on with it nor
                overwriting it was asked for; or the storage cannot be reached.
        """
        beside = check_out(config)
        storage = config.cluster.storage
        if storage is None:
            return cls(str(beside))
        run = cls(storage if "://" in storage else str(Path(storage).absolute()))
        if not config.resume and (exists(run.rows) or exists(run.training)):
            if not config.overwrite:
                raise UserError(
                    f"{storage} holds an unfinished run: pass --resume to go on with it, or "
                    "--overwrite to start anew"
                )
            run.remove()
        return run

    @property
    def rows(self) -> str:
        """The folder of the shards."""
        return f"{self.place}/rows"

    @property
    def training(self) -> str:
        """Ray Train's folder."""
        return f"{self.place}/{RUN}"

    def has_snapshot(self) -> bool:
        """Whether Ray Train knows of one."""
        return exists(f"{self.training}/{_NOTES}")

    def onward(self) -> str:
        """How to go on, for the end of a message."""
        return "; --resume goes on from the last snapshot" if self.has_snapshot() else ""

    def remove(self) -> None:
        """Delete the rows and the snapshots."""
        remove_folder(self.training)
        remove_folder(self.rows)
        remove_folder(self.place, only_if_empty=True)

    @contextmanager
    def tidy(self) -> Iterator[None]:
        """Leave nothing of a run that fails before its first snapshot: nothing could go on."""
        try:
            yield
        except BaseException:
            if not self.has_snapshot():
                self.remove()
            raise
