"""Folders on this machine, on a disk that several share, or at an address: s3://bucket/folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.errors import UserError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def locate(place: str) -> "tuple[FileSystem, str]":
    """pyarrow's file system, and the path there.

    Raises:
        UserError: it is no path and no address of a kind that pyarrow knows.
    """
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in place:
        return LocalFileSystem(), str(Path(place).absolute())
    with _told(place):
        return FileSystem.from_uri(place)


def exists(place: str) -> bool:
    """Whether there is a file or folder."""
    from pyarrow.fs import FileType

    filesystem, path = locate(place)
    with _told(place):
        return filesystem.get_file_info(path).type != FileType.NotFound


def make_folder(place: str) -> None:
    """With those above it, where they are missing."""
    filesystem, path = locate(place)
    with _told(place):
        filesystem.create_dir(path, recursive=True)


def remove_folder(place: str, only_if_empty: bool = False) -> None:
    """With all that is in it; a folder that is not there is no mistake."""
    from pyarrow.fs import FileSelector

    filesystem, path = locate(place)
    with _told(place):
        if not exists(place):
            return
        if not (only_if_empty and filesystem.get_file_info(FileSelector(path))):
            filesystem.delete_dir(path)


def read_text(place: str) -> str:
    filesystem, path = locate(place)
    with _told(place), filesystem.open_input_stream(path, compression=None) as file:
        return file.read().decode()


def write_text(place: str, text: str) -> None:
    """Written under another name first: the file appears whole or not at all."""
    filesystem, path = locate(place)
    with _told(place):
        with filesystem.open_output_stream(f"{path}.part", compression=None) as file:
            file.write(text.encode())
        filesystem.move(f"{path}.part", path)


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's own errors are of the second kind
        reason = " ".join(str(error).split())
        raise UserError(f"cannot use {place}: {reason}") from error
