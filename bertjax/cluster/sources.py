"""DATA -> a stream of frames with the columns that are asked for, through Ray Data.

DATA is what `data/sources.py` reads, or a folder of files of one kind, here or at an address such
as s3://bucket/folder.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ray.data import Dataset, from_pandas, read_datasource, read_parquet
from ray.data.datasource import FileBasedDatasource

from bertjax.data.formats import READERS, stream_file
from bertjax.data.labels import quoted
from bertjax.data.sources import check_columns, read_frame
from bertjax.data.storage import locate
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# Tasks of reading ask for part of a core, and so are not joined with those that follow: a single
# file is tokenized by many.
READING = 0.25
FRAME = 8192  # rows
REMOTE = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "http", "https")


class _Frames(FileBasedDatasource):
    """Files of a format that is read as a stream."""

    def __init__(self, paths: list[str], suffix: str, columns: Sequence[str]):
        super().__init__(paths)
        self.suffix = suffix
        self.columns = list(columns)

    def _read_stream(self, f: Any, path: str) -> Iterator["pd.DataFrame"]:
        for frame in stream_file(io.BufferedReader(f), self.suffix, path, FRAME):
            yield _only(frame, self.columns, self.suffix, path)


def stream_table(data: str, columns: Sequence[str]) -> Dataset:
    """Frames of `columns`, in the order of the files' names and of their rows.

    Raises:
      UserError: there are no such files, they are of several kinds, or the first of them has no
        such column. What is wrong with a later one shows when it is read.
    """
    columns = list(dict.fromkeys(columns))
    files = list_files(data)
    if files is None:
        frame = read_frame(data)
        check_columns(frame, columns, data)
        return from_pandas(frame.filter(columns))
    suffix = suffix_of(files, data)
    _check_first(files[0], suffix, columns)
    if suffix == ".parquet":
        return _read_parquet(files).select_columns(columns)
    return read_datasource(
        _Frames(files, suffix, columns), override_num_blocks=len(files), num_cpus=READING
    )


def _read_parquet(files: list[str]) -> Dataset:
    try:
        return read_parquet(files, override_num_blocks=len(files), num_cpus=READING)
    except (OSError, ValueError) as error:  # of a file that Ray looks into at once
        for path in files:
            if urlsplit(path).scheme not in REMOTE:
                _check_parquet(path)
        reason = " ".join(str(error).split())
        raise UserError(
            f"a file beside {files[0]} is not a well-formed .parquet: {reason}"
        ) from error


def list_files(data: str) -> list[str] | None:
    """The files that DATA names, sorted; None where it is the sample or a Hub dataset."""
    scheme = urlsplit(data).scheme
    if scheme in ("http", "https"):
        return [data]
    if scheme in REMOTE:
        return _list_remote(data)
    path = Path(data)
    if path.is_dir():
        found = sorted(str(file.absolute()) for file in path.rglob("*") if is_table(file))
        if not found:
            raise UserError(f"the folder {data} holds no {', '.join(READERS)} file")
        return found
    return [str(path.absolute())] if path.is_file() else None


def is_table(file: Path) -> bool:
    return file.suffix.lower() in READERS and not file.name.startswith((".", "_"))


def _list_remote(data: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = locate(data)
    try:
        info = filesystem.get_file_info(path)
        if info.type == FileType.File:
            return [data]
        if info.type == FileType.NotFound:
            raise UserError(f"there is nothing at {data}; check the address")
        entries = filesystem.get_file_info(FileSelector(path, recursive=True))
    except OSError as error:
        raise UserError(f"cannot read {data}: {' '.join(str(error).split())}") from error
    scheme = f"{urlsplit(data).scheme}://"
    files = [entry for entry in entries if entry.type == FileType.File]
    found = sorted(scheme + entry.path for entry in files if is_table(Path(entry.path)))
    if not found:
        raise UserError(f"the folder {data} holds no {', '.join(READERS)} file")
    return found


def suffix_of(files: list[str], data: str) -> str:
    """The one suffix of the files that DATA names.

    Raises:
      UserError: it is not one, or none of a table.
    """
    suffixes = {Path(urlsplit(file).path).suffix.lower() for file in files}
    if len(suffixes) > 1:
        kinds = quoted(sorted(suffixes))
        raise UserError(f"the folder {data} holds files of several kinds ({kinds}): give one")
    suffix = suffixes.pop()
    if suffix not in READERS:
        raise UserError(f"cannot read {data!r}: expected {', '.join(READERS)}; found {suffix!r}")
    return suffix


def _check_first(path: str, suffix: str, columns: Sequence[str]) -> None:
    """Tell of a wrong column at once, and not when the stream has come to it."""
    if urlsplit(path).scheme in REMOTE:
        return
    if suffix == ".parquet":
        frame = _check_parquet(path)
    else:
        with open(path, "rb") as file, closing(stream_file(file, suffix, path, 1)) as frames:
            frame = next(frames, None)
        if frame is None or frame.empty:
            raise UserError(f"{path} has no rows; nothing to read")
    check_columns(frame, columns, path)


def _check_parquet(path: str) -> "pd.DataFrame":
    """The columns of a file, without rows."""
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).empty_table().to_pandas()
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a well-formed .parquet: {reason}") from error


def _only(frame: "pd.DataFrame", columns: list[str], suffix: str, path: str) -> "pd.DataFrame":
    if suffix == ".jsonl":  # no object need have all columns
        return frame.reindex(columns=columns).astype(object)
    check_columns(frame, columns, path)
    return frame.filter(columns)
