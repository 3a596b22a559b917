"""DATA -> a table of texts and labels.

DATA is a .csv, .tsv, .jsonl or .parquet file, a URL of one, the name of a Hub dataset
("name" or "name#split"), or "sample" for the embedded table.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bertjax.data.formats import READERS, read_file
from bertjax.data.hub import read_hub_dataset
from bertjax.data.labels import quoted
from bertjax.data.soft_labels import SoftLabels, soft_labels
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = "sample"

_DOWNLOAD_TIMEOUT = 30  # seconds without an answer
_HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(#(?P<split>[\w.:\[\]%+-]+))?")
_FILE_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")  # "notes.txt" is a file, "owner/corpus-v1.5" is not
_EXPECTED = (
    "expected a .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset (owner/name or "
    f"owner/name#split) or '{SAMPLE}'"
)


@dataclass(frozen=True)
class Table:
    texts: list[str]  # the text columns of each row, joined
    labels: list[str] | None  # as many as texts; None where no label column was asked for
    dropped: int  # rows left out because their label is missing
    fingerprint: str  # sha256 (hex) of texts and labels
    soft: SoftLabels | None = None  # of the labels, where they were asked for


def read_table(
    data: str, text: str | Sequence[str], label: str | None, soft: bool = False
) -> Table:
    """Reads the columns `text` (joined by a space) and `label` of `data`.

    A missing text is empty; a row whose label is missing is dropped and counted.

    Args:
      soft: whether to read the probabilities of the label as well.

    Raises:
      UserError: see `read_frame` and `soft_labels`; a column that is not there; no row has a label.
    """
    columns = [text] if isinstance(text, str) else list(text)
    frame = read_frame(data)
    check_columns(frame, columns if label is None else [*columns, label], data)
    texts = text_of(frame, columns, data)
    if label is None:
        return Table(texts, None, 0, fingerprint(texts, None))

    kept, labels = labelled_rows(frame, texts, label)
    if not labels:
        raise UserError(f"{data}: every row of the label column {label!r} is empty; name another")
    found = None
    if soft:
        named = [row for row, cell in enumerate(_cells(frame, label)) if cell]
        found = soft_labels(frame.take(named), label, labels, data)
    return Table(kept, labels, len(frame) - len(labels), fingerprint(kept, labels), found)


def labelled_rows(
    frame: "pd.DataFrame", texts: list[str], label: str
) -> tuple[list[str], list[str]]:
    """(texts, labels) of the rows that have a label; `texts` are those of all rows."""
    rows = [pair for pair in zip(texts, _cells(frame, label), strict=True) if pair[1]]
    return [text for text, _ in rows], [label for _, label in rows]


def text_of(frame: "pd.DataFrame", columns: Sequence[str], name: str) -> list[str]:
    """The text of each row: its `columns`, joined by a space; missing text is empty.

    Raises:
      UserError: a column is not there; the message lists those that are.
    """
    check_columns(frame, columns, name)
    if not columns:
        there = quoted(map(str, frame.columns))
        raise UserError(f"{name} needs at least one text column; its columns are {there}")
    parts = [_cells(frame, column) for column in columns]
    return [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]


def check_columns(frame: "pd.DataFrame", columns: Sequence[str], name: str) -> None:
    """Raise a UserError if a column is not there."""
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise UserError(
            f"{name} has no column {quoted(absent)}; its columns are "
            f"{quoted(map(str, frame.columns))}"
        )


def read_frame(data: str) -> "pd.DataFrame":
    """The table that `data` names, with at least one row; cells of .csv and .tsv are text.

    Raises:
      UserError: what `data` names is missing, unreachable, malformed or without rows.
    """
    if data == SAMPLE:
        sample = resources.files("bertjax.data.samples") / "sample.csv"
        with sample.open("rb") as file:
            return read_file(file, ".csv", SAMPLE)
    if urlsplit(data).scheme in ("http", "https", "file"):
        return _read_url(data)
    if os.path.exists(data) or _FILE_SUFFIX.search(data):
        return _read_path(Path(data))
    if match := _HUB_NAME.fullmatch(data):
        frame = read_hub_dataset(match["name"], match["split"] or "train")
        if frame.empty:
            raise UserError(f"the Hub dataset {data} has no rows; name another split")
        return frame
    raise UserError(f"cannot tell what DATA {data!r} is: {_EXPECTED}")


def _read_path(path: Path) -> "pd.DataFrame":
    _check_suffix(path.suffix, str(path))
    if not path.exists():
        raise UserError(
            f"there is no file {str(path)!r}; check the path (relative to {Path.cwd()})"
        )
    try:
        with path.open("rb") as file:
            return read_file(file, path.suffix, str(path))
    except OSError as error:
        raise UserError(f"cannot open {str(path)!r}: {_one_line(error)}") from error


def _read_url(url: str) -> "pd.DataFrame":
    from http.client import HTTPException
    from urllib.request import urlopen

    suffix = Path(urlsplit(url).path).suffix
    _check_suffix(suffix, url)
    try:
        with urlopen(url, timeout=_DOWNLOAD_TIMEOUT) as answer:
            file = io.BytesIO(answer.read())  # Parquet is read from its end: it must be seekable
    except (OSError, ValueError, HTTPException) as error:
        raise UserError(
            f"cannot download {url!r}: {_one_line(error)}; check the address"
        ) from error
    return read_file(file, suffix, url)


def _check_suffix(suffix: str, name: str) -> None:
    if suffix.lower() not in READERS:
        raise UserError(f"cannot read {name!r}: {_EXPECTED}; found the suffix {suffix!r}")


def _cells(frame: "pd.DataFrame", column: str) -> list[str]:
    """The cells of a column as text, "" where missing.

    A whole number that is a float is written as an integer: pandas makes floats of an integer
    column as soon as one cell is missing.
    """
    return [
        str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
        for cell in frame[column].to_numpy(object, na_value="")
    ]


def fingerprint(texts: list[str], labels: list[str] | None) -> str:
    """sha256 (hex) of the rows."""
    digest = hashlib.sha256()
    for row in zip(texts, labels, strict=True) if labels is not None else texts:
        digest.update(json.dumps(row).encode())  # JSON marks where a field ends
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
