"""The folder that a job of predictions fills: a file appears there when it is finished.

For `a.csv` of the table there is `a.csv`, or, where that has more than `PART` rows, a folder
`a.csv` of parts. Until then its parts lie in `.unfinished`, each with a note of how many rows of
the table it stands for, so that a job that was cut off goes on behind the last one. Rows that
failed are kept in those notes, and go to `failed.jsonl` with the file. What the job was asked for
is in `.predict.json`: with another model or other columns it is not gone on with.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertjax.checkpoints.atomic import write_text
from bertjax.cluster.chunks import Chunk
from bertjax.data.formats import write_file
from bertjax.data.storage import stamps
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PART = 32768  # rows of the table in a part, at least, but for the last one
FAILED = "failed.jsonl"
ASKED = ".predict.json"
UNFINISHED = ".unfinished"


@dataclass
class _Waiting:
    """Rows of a file that are not written yet."""

    tables: list["pd.DataFrame"] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    rows: int = 0  # that failed, too


class Output:
    """Where the predictions of files go.

    Args:
        folder: is made when the first part is written.
        names: under which each file's predictions appear there.
        asked: settings that change predictions.
    """

    def __init__(self, folder: Path, names: Mapping[str, str], asked: Mapping[str, Any]):
        self.folder = folder
        self.names = names
        self.asked = json.loads(json.dumps(asked))
        self._waiting: dict[str, _Waiting] = {}
        self._stale = False  # what is there is another job's, until the first part is written

    def open(self, resume: bool, overwrite: bool) -> None:
        """Begin, or go on.

        Raises:
            UserError: the folder exists, and was not asked to be replaced, or is another job's.
        """
        if not self.folder.exists():
            return
        if not (resume or overwrite):
            raise UserError(
                f"{self.folder} exists already: choose another folder, or pass --resume to go on "
                "with it or --overwrite"
            )
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; --workers write into a folder")
        if not any(self.folder.iterdir()):
            return
        asked = self._read_asked()
        if overwrite:
            self._stale = True
            return
        differing = [name for name, value in self.asked.items() if asked.get(name) != value]
        if differing:
            raise UserError(
                f"{self.folder} was begun with another {', '.join(differing)}: go on with the "
                "same, or pass --overwrite"
            )
        self._forget_failures_of_unfinished()

    def _read_asked(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / ASKED).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise UserError(
                f"{self.folder} holds no job of predictions ({ASKED}): choose another folder"
            ) from None

    def finished(self, file: str) -> bool:
        return not self._stale and (self.folder / self.names[file]).exists()

    def rows_done(self, file: str) -> int:
        """Rows at the start of an unfinished file that need not be done again."""
        if self._stale:
            return 0
        notes = self._notes(file)
        if any(note["stamps"] != stamps(file) for note in notes):
            self.forget(file)
            return 0
        self._remove_scratch(file, len(notes))
        return sum(note["rows"] for note in notes)

    def add(self, chunk: Chunk, failed: Sequence[str]) -> None:
        """The next rows of a file: those that were predicted, and the lines of the others."""
        waiting = self._waiting.setdefault(chunk.file, _Waiting())
        waiting.tables.append(chunk.table)
        waiting.failed += failed
        waiting.rows += len(chunk.table) + len(failed)
        if waiting.rows >= PART or chunk.last:
            del self._waiting[chunk.file]
            if waiting.rows or not self._notes(chunk.file):
                self._write_part(chunk.file, waiting)
        if chunk.last:
            self._finish(chunk.file)

    def forget(self, file: str) -> None:
        """Drop what was done of a file that is not finished."""
        self._waiting.pop(file, None)
        if self._stale:
            return
        for folder in (self._parts(file), self._notes_folder(file)):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Leave no empty folders; nothing that is unfinished is lost."""
        for folder, _, _ in os.walk(self.folder / UNFINISHED, topdown=False):
            if not any(Path(folder).iterdir()):
                os.rmdir(folder)

    def _parts(self, file: str) -> Path:
        return self.folder / UNFINISHED / "parts" / self.names[file]

    def _notes_folder(self, file: str) -> Path:
        return self.folder / UNFINISHED / "notes" / self.names[file]

    def _notes(self, file: str) -> list[dict[str, Any]]:
        """Of the parts that are written, in their order."""
        notes = []
        if self._stale:
            return notes
        for path in sorted(self._notes_folder(file).glob("*.json")):
            if not (self._parts(file) / path.stem).exists():
                break
            notes.append(json.loads(path.read_text(encoding="utf-8")))
        return notes

    def _remove_scratch(self, file: str, parts: int) -> None:
        """What a job that was killed has half written."""
        if self._parts(file).exists():
            for path in sorted(self._parts(file).iterdir()):
                if not (path.name.startswith("part-") and path.stem < f"part-{parts:05d}"):
                    path.unlink()

    def _write_part(self, file: str, waiting: _Waiting) -> None:
        import pandas as pd

        if self._stale:
            shutil.rmtree(self.folder)
            self._stale = False
        parts, notes = self._parts(file), self._notes_folder(file)
        for folder in (parts, notes):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / ASKED, json.dumps(self.asked, indent=2))
        name = f"part-{len(self._notes(file)):05d}{Path(self.names[file]).suffix.lower()}"
        note = {"rows": waiting.rows, "failed": waiting.failed, "stamps": stamps(file)}
        write_text(notes / f"{name}.json", json.dumps(note))  # counts once its part is there
        tables = [table for table in waiting.tables if len(table)] or waiting.tables[:1]
        write_file(pd.concat(tables, ignore_index=True), parts / name)

    def _finish(self, file: str) -> None:
        """Failures first: those of a file that is not there are dropped by the next job."""
        failed = [line for note in self._notes(file) for line in note["failed"]]
        if failed:
            with (self.folder / FAILED).open("a", encoding="utf-8") as side:
                side.write("".join(f"{line}\n" for line in failed))
        target, parts = self.folder / self.names[file], sorted(self._parts(file).iterdir())
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(parts[0] if len(parts) == 1 else self._parts(file), target)
        self.forget(file)

    def _forget_failures_of_unfinished(self) -> None:
        side = self.folder / FAILED
        if not side.exists():
            return
        with side.open(encoding="utf-8") as lines:
            kept = [line for line in lines if self._is_of_finished(line)]
        write_text(side, "".join(kept))

    def _is_of_finished(self, line: str) -> bool:
        try:
            file = json.loads(line)["file"]
        except ValueError:  # the job was cut off here
            return False
        return file not in self.names or self.finished(file)
