"""The file formats of tables: .csv, .tsv, .jsonl and .parquet <-> DataFrame."""

import json
import math
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

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
    with one_line_of_what_is_wrong(suffix, name):
        frame = READERS[suffix.lower()](file)
    if frame.empty:
        raise UserError(f"{name} has a header but no rows; nothing to read")
    return frame


def stream_file(
    file: IO[bytes], suffix: str, name: str, rows: int, errors: str = "strict"
) -> "Generator[pd.DataFrame]":
    """The table in an open file, in frames of at most so many rows; for the formats of `STREAMS`.

    Args:
      errors: what to do with bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
      UserError: the file is malformed.
    """
    with one_line_of_what_is_wrong(suffix, name):
        yield from STREAMS[suffix.lower()](file, rows, errors=errors)


@contextmanager
def one_line_of_what_is_wrong(suffix: str, name: str) -> Iterator[None]:
    """Turn what the readers of a format raise on a malformed file into a UserError."""
    try:
        yield
    except ValueError as error:  # what pandas, pyarrow, json and the UTF-8 decoder raise
        reason = " ".join(str(error).split())
        raise UserError(f"{name} is not a well-formed {suffix}: {reason}") from error


def _csv_frames(
    file: IO[bytes], rows: int | None, separator: str = ",", errors: str = "strict"
) -> "Iterator[pd.DataFrame]":
    """Every cell as text, so that "NA", "null" and "007" stay what they are; only "" is missing."""
    import pandas as pd

    with pd.read_csv(
        file,
        sep=separator,
        dtype=str if errors == "strict" else object,  # Arrow's strings hold nothing but UTF-8
        keep_default_na=False,
        na_values=[""],
        encoding="utf-8-sig",
        encoding_errors=errors,
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


def _jsonl_frames(
    file: IO[bytes], rows: int | None, errors: str = "strict"
) -> "Iterator[pd.DataFrame]":
    """One object a line. Values keep their types; pandas' own reader guesses dates and floats."""
    import pandas as pd

    found = _json_objects(file, errors)
    while part := list(islice(found, rows)):
        yield pd.DataFrame(part, dtype=object)


def _json_objects(file: IO[bytes], errors: str) -> Iterator[dict]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line if errors == "strict" else line.decode("utf-8-sig", errors))
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


def _write_csv(frame: "pd.DataFrame", path: str, separator: str = ",") -> None:
    """A list or an object in a cell is written as JSON."""
    flat = frame.copy(deep=False)
    for name, cells in frame.items():
        if _may_be_nested(cells):
            flat[name] = cells.map(_flat)
    flat.to_csv(path, index=False, sep=separator)


def _may_be_nested(column: "pd.Series") -> bool:
    return column.dtype == object or str(column.dtype).startswith(("list", "struct", "map"))


def _flat(cell: Any) -> Any:
    if isinstance(cell, str) or not hasattr(cell, "__iter__"):
        return cell
    return json.dumps(plain(cell), ensure_ascii=False)


def _write_jsonl(frame: "pd.DataFrame", path: str) -> None:
    """Numbers keep all their digits; pandas' own writer keeps ten."""
    with open(path, "w", encoding="utf-8") as file:
        for row in frame.to_dict("records"):
            file.write(json.dumps(plain(row), ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """A cell, or a row of them, in the types that JSON has; what is missing is None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "tolist"):  # of numpy
        return plain(value.tolist())
    if isinstance(value, list | tuple | set):
        return [plain(entry) for entry in value]
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text in ("<NA>", "NaT") else text


def _write_parquet(frame: "pd.DataFrame", path: str) -> None:
    """Without pandas' notes on its own types: it cannot read all of those that it writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({str(n): _arrow_column(cells) for n, cells in frame.items()}), path)


def _arrow_column(column: "pd.Series") -> Any:
    import pyarrow as pa

    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # cells of several types, which .jsonl may have
        cells = [plain(cell) for cell in column]
        return pa.array(
            [cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in cells]
        )


WRITERS = {
    ".csv": _write_csv,
    ".tsv": partial(_write_csv, separator="\t"),
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
