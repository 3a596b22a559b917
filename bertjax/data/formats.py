"""The file formats of tables: .csv, .tsv, .jsonl and .parquet <-> DataFrame."""

import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def read_file(file: IO[bytes], suffix: str, name: str) -> "pd.DataFrame":
    """The table in an open, seekable file; `suffix` says which format, `name` stands in messages.

    Raises:
      UserError: the file is empty, malformed or without rows.
    """
    if not file.read(1):
        raise UserError(f"{name} is empty; expected a table with a header and rows")
    file.seek(0)
    with _one_line_of_what_is_wrong(suffix, name):
        frame = READERS[suffix.lower()](file)
    if frame.empty:
        raise UserError(f"{name} has a header but no rows; nothing to read")
    return frame


def stream_file(file: IO[bytes], suffix: str, name: str, rows: int) -> "Generator[pd.DataFrame]":
    """The table in an open file, in frames of at most so many rows; for the formats of `STREAMS`.

    Raises:
      UserError: the file is malformed.
    """
    with _one_line_of_what_is_wrong(suffix, name):
        yield from STREAMS[suffix.lower()](file, rows)


@contextmanager
def _one_line_of_what_is_wrong(suffix: str, name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # what pandas, pyarrow, json and the UTF-8 decoder raise
        reason = " ".join(str(error).split())
        raise UserError(f"{name} is not a well-formed {suffix}: {reason}") from error


def _csv_frames(
    file: IO[bytes], rows: int | None, separator: str = ","
) -> "Iterator[pd.DataFrame]":
    """Every cell as text, so that "NA", "null" and "007" stay what they are; only "" is missing."""
    import pandas as pd

    with pd.read_csv(
        file,
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        encoding="utf-8-sig",
        chunksize=rows or sys.maxsize,
    ) as frames:
        for frame in frames:
            # pandas turns the surplus of rows longer than the header into an index, silently.
            if not isinstance(frame.index, pd.RangeIndex):
                raise ValueError(
                    "its rows have more fields than its header, which names "
                    f"{len(frame.columns)}; quote the fields that contain the separator"
                )
            yield frame


def _jsonl_frames(file: IO[bytes], rows: int | None) -> "Iterator[pd.DataFrame]":
    """One object a line. Values keep their types; pandas' own reader guesses dates and floats."""
    import pandas as pd

    found = _json_objects(file)
    while part := list(islice(found, rows)):
        yield pd.DataFrame(part, dtype=object)


def _json_objects(file: IO[bytes]) -> Iterator[dict]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:  # not JSON, or not UTF-8
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f'line {number} is not an object such as {{"text": "..."}}')
        yield row


def _read_parquet(file: IO[bytes]) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(file)


def _read_whole(suffix: str, file: IO[bytes]) -> "pd.DataFrame":
    import pandas as pd

    return next(STREAMS[suffix](file, None), pd.DataFrame())


STREAMS = {
    ".csv": _csv_frames,
    ".tsv": partial(_csv_frames, separator="\t"),
    ".jsonl": _jsonl_frames,
}

READERS = {
    **{suffix: partial(_read_whole, suffix) for suffix in STREAMS},
    ".parquet": _read_parquet,
}


def check_writable(path: Path, overwrite: bool) -> None:
    """Raise a UserError if `write_file` could not write here."""
    if path.suffix.lower() not in WRITERS:
        raise UserError(
            f"cannot write {path}: expected a name that ends in {', '.join(WRITERS)}; found the "
            f"suffix {path.suffix!r}"
        )
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already: choose another name or pass --overwrite")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.absolute().parent} to write {path.name} into")


def write_file(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table in the format of the suffix; the file appears whole or not at all."""
    handle, scratch = tempfile.mkstemp(dir=path.absolute().parent, suffix=path.suffix)
    os.close(handle)
    try:
        WRITERS[path.suffix.lower()](frame, scratch)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


WRITERS = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda frame, path: frame.to_json(
        path, orient="records", lines=True, force_ascii=False
    ),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}
