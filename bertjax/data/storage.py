"""Folders on this machine, on a disk that several share, or at an address: s3://bucket/folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
    """With all that is in it; a folder that is not there is no mistake. No bucket is removed."""
    from pyarrow.fs import FileSelector

    filesystem, path = locate(place)
    if "/" not in path or not exists(place):
        return
    with _told(place):
        if not (only_if_empty and filesystem.get_file_info(FileSelector(path))):
            filesystem.delete_dir(path)


def stamps(place: str) -> dict[str, list[int]]:
    """Of a file, or of each in a folder, what changes when it does; of a web page, nothing."""
    from pyarrow.fs import FileSelector, FileType

    if urlsplit(place).scheme in ("http", "https"):
        return {}
    filesystem, path = locate(place)
    with _told(place):
        found = [filesystem.get_file_info(path)]
        if found[0].type == FileType.Directory:
            found = filesystem.get_file_info(FileSelector(path, recursive=True))
    files = [file for file in found if file.type == FileType.File]
    return {file.path: [file.size, file.mtime_ns] for file in files}


def read_text(place: str) -> str:
    filesystem, path = locate(place)
    with _told(place), filesystem.open_input_stream(path, compression=None) as file:
        return file.read().decode()


def write_text(place: str, text: str) -> None:
    """The file appears whole or not at all; in a bucket it does so by itself."""
    filesystem, path = locate(place)
    scratch = f"{path}.new" if filesystem.type_name == "local" else path
    with _told(place):
        with filesystem.open_output_stream(scratch, compression=None) as file:
            file.write(text.encode())
        if scratch != path:
            filesystem.move(scratch, path)


@contextmanager
def _told(place: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot use {place}: {reason}") from error
