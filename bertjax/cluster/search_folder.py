"""The folder of a search: what stands where, while it runs and when it has come to its end."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bertjax.checkpoints.atomic import write_text
from bertjax.errors import UserError
from bertjax.workflows.tune_configs import TuneConfig

# What may differ between the two halves of a search that was cut off.
_FREE = ("ray_address", "resume", "overwrite", "tracking")


class SearchFolder:
    """Paths, and what begins and ends a search."""

    def __init__(self, config: TuneConfig):
        self._config = config
        self.path = config.out.absolute()
        self.table = self.path / "trials.csv"
        self.plot = self.path / "search.png"
        self.recipe = self.path / "best.json"
        self.best = self.path / "best"  # run folder
        self.settings = self.path / "search.json"  # of the search
        self.state = self.path / "state"  # Ray Tune's notes; there while a search is unfinished
        self.runs = self.path / "trials"  # run folders of the trials

    def is_unfinished(self) -> bool:
        """Whether there is a search to go on with."""
        return self.settings.exists() and self.state.exists()

    def refuse_what_is_there(self) -> None:
        """Raise a UserError if the folder holds what this search must not replace or go on with."""
        config, unfinished = self._config, self.is_unfinished()
        if unfinished and config.resume:
            self._refuse_other_settings()
            return
        if config.resume and self.settings.exists():
            raise UserError(f"{config.out} is a finished search: there is nothing to resume")
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not self.settings.exists():
            raise UserError(f"{config.out} exists and is not of a search: choose another folder")
        if not config.overwrite:
            what = "holds an unfinished search" if unfinished else "exists already"
            way = "pass --resume to go on with it, or" if unfinished else "choose another, or pass"
            raise UserError(f"{config.out} {what}: {way} --overwrite to start anew")

    def begin(self) -> None:
        """Make the folder of a new search, in the place of an old one."""
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            self.runs.mkdir(parents=True)
            write_text(self.settings, json.dumps(self._settings(), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._config.out}: {error.strerror}") from error

    def has_notes(self) -> bool:
        """Whether a trial was begun before the search was cut off."""
        return self.is_unfinished() and bool(self._notes())

    def keep_notes(self, written: Path) -> None:
        """Keep what Ray Tune has written there of the search.

        Ray Tune copies it too, but a kill in the middle of that leaves half of it.
        """
        before = self._notes()
        scratch = self.path / ".notes"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for file in _note_files(written):
            shutil.copy(file, scratch)
        number = int(before[-1].name.partition("-")[2]) + 1 if before else 1
        os.replace(scratch, self.path / f"notes-{number:09d}")
        for folder in before:
            shutil.rmtree(folder, ignore_errors=True)

    def restore_notes(self) -> None:
        """Give Ray Tune what was kept last in the place of its own copy."""
        for file in _note_files(self.state):
            file.unlink()
        for file in _note_files(self._notes()[-1]):
            shutil.copy(file, self.state)

    def _notes(self) -> list[Path]:
        return sorted(self.path.glob("notes-*"))

    def end(self, best: str | None) -> None:
        """Keep the run folder of that name alone, and remove what a search needs to go on."""
        if best is not None and (self.runs / best).exists():
            os.replace(self.runs / best, self.best)
        shutil.rmtree(self.runs, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        for folder in self._notes():
            shutil.rmtree(folder, ignore_errors=True)

    def _settings(self) -> dict[str, Any]:
        values = asdict(self._config)
        values["out"] = str(self.path)
        kept = {name: value for name, value in values.items() if name not in _FREE}
        return json.loads(json.dumps(kept))

    def _refuse_other_settings(self) -> None:
        before, now = json.loads(self.settings.read_text(encoding="utf-8")), self._settings()
        for name, value in now.items():
            if before.get(name) != value:
                raise UserError(
                    f"{self._config.out} is a search with other settings: {name} was "
                    f"{before.get(name)!r} and is {value!r}; give the same, or --overwrite to "
                    "start anew"
                )


def _note_files(folder: Path) -> list[Path]:
    """Of trials, of the search engine and of callbacks; not of what Ray Tune was asked to do."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix in (".json", ".pkl") and path.is_file() and path.name != "tuner.pkl"
    ]
