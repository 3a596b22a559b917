"""Where the rows and snapshots of a run are kept until it is finished."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bertjax.cluster.ingested import NAME as ROWS_READ
from bertjax.data.storage import exists, remove_folder
from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import check_out, snapshots_folder

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
        storage = config.cluster.storage
        if storage is None:
            run = cls(str(snapshots_folder(config)))
            there = exists(run.place)  # also where one process has left its snapshots
        else:
            run = cls(_absolute(storage))  # where other things may be too
            there = exists(run.rows) or exists(run.training)
        check_out(config, run.place, there)
        if there and not config.resume:
            run.remove()
            if storage is None:
                remove_folder(run.place)
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

    def has_rows(self) -> bool:
        """Whether all rows of the table were read."""
        return exists(f"{self.rows}/{ROWS_READ}")

    def onward(self) -> str:
        """How to go on, for the end of a message."""
        with suppress(UserError):  # it is the message's own matter that counts
            if self.has_snapshot():
                return "; --resume with the same settings goes on from the last snapshot"
            if self.has_rows():
                return "; --resume takes the rows as they were read"
        return ""

    def remove(self) -> None:
        """Delete the rows and the snapshots."""
        remove_folder(self.training)
        remove_folder(self.rows)
        remove_folder(self.place, only_if_empty=True)

    @contextmanager
    def tidy(self) -> Iterator[None]:
        """Leave nothing of a run that fails with which none could go on."""
        try:
            yield
        except BaseException:
            with suppress(UserError):  # what failed is to be told, not this
                if not self.has_snapshot() and not self.has_rows():
                    self.remove()
            raise


def _absolute(storage: str) -> str:
    return storage.rstrip("/") if "://" in storage else str(Path(storage).absolute())
