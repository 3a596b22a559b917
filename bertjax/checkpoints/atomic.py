"""Folders and small files that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bertjax.errors import UserError


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise a UserError if the folder may not be written."""
    if folder.exists() and not overwrite:
        raise UserError(f"{folder} exists already: choose another folder or pass --overwrite")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder: choose another name")


@contextlib.contextmanager
def new_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder that takes the name `folder` when the block ends without an error.

    It stands beside `folder`, so that the last step is a rename. With `overwrite`, what stood
    there is removed only once the new one is in its place.

    Raises:
        UserError: `folder` exists and `overwrite` is not set, or cannot be written.
    """
    refuse_existing(folder, overwrite)
    folder = folder.resolve()  # `.` and `..` have no name to take; a link stays a link
    scratch = _make_scratch(folder)
    content, replaced = scratch / folder.name, scratch / f"{folder.name}.replaced"
    try:
        content.mkdir()
        yield content
        refuse_existing(folder, overwrite)  # somebody else may have been quicker
        try:
            if folder.exists():
                os.replace(folder, replaced)
            os.replace(content, folder)
        except BaseException:
            if replaced.exists() and not folder.exists():
                os.replace(replaced, folder)
            raise
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_scratch(folder: Path) -> Path:
    """An empty folder beside `folder`, and the folders above it."""
    parent = folder.parent
    if parent.exists() and not parent.is_dir():
        raise UserError(f"cannot write {folder}: {parent} is a file, expected a folder")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    except OSError as error:
        raise UserError(f"cannot write to {parent}: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write a file, in UTF-8, whose old content stays until the new one is there."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)
