"""DATA -> a stream of chunks: the rows of its files, a thousand at a time, with their places.

A chunk is one row of a Ray dataset. Its table travels as bytes, so that cells of any type, and
files of different columns, stay what they are. Ray splits no row, so each chunk stays whole too.
"""

import io
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ray.data import Dataset, from_arrow, read_datasource
from ray.data.datasource import FileBasedDatasource

from bertjax.data.formats import one_line_of_what_is_wrong, stream_file
from bertjax.data.sources import check_columns, read_frame
from bertjax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROWS = 1024  # of a chunk, at most


@dataclass(frozen=True)
class Chunk:
    """Rows of a file, one after the other; of each file at least one chunk, if of no rows."""

    file: str  # as listed
    first: int  # place of the first row in the file
    table: "pd.DataFrame"
    last: bool  # no chunk of this file follows
    error: str = ""  # why the file could be read no further; then there are no rows

    def pack(self) -> dict[str, Any]:
        """As a row of a Ray dataset."""
        return {**vars(self), "table": pickle.dumps(self.table, protocol=5)}

    @classmethod
    def unpack(cls, row: Mapping[str, Any]) -> "Chunk":
        return cls(
            file=row["file"],
            first=int(row["first"]),
            table=pickle.loads(row["table"]),
            last=bool(row["last"]),
            error=row["error"],
        )


class _Chunks(FileBasedDatasource):
    """Files of one format, each from the first row that is still to be done."""

    def __init__(self, files: Mapping[str, int], suffix: str, columns: Sequence[str]):
        super().__init__(list(files))
        self.suffix = suffix
        self.columns = columns
        self.files = {_ray_path(file): (file, skip) for file, skip in files.items()}

    def _open_input_source(self, filesystem: Any, path: str, **open_args: Any) -> Any:
        if self.suffix == ".parquet":  # is read from its end
            return filesystem.open_input_file(path)
        return super()._open_input_source(filesystem, path, **open_args)

    def _read_stream(self, f: Any, path: str) -> Iterator["pa.Table"]:
        file, skip = self.files[path]
        for chunk in read_chunks(f, self.suffix, file, self.columns, skip):
            yield _block([chunk])


def stream_chunks(
    files: Mapping[str, int], suffix: str, columns: Sequence[str], readers: int
) -> Dataset:
    """The chunks of files, those of each file in the order of its rows.

    Args:
        files: with the number of rows of each that are to be left out at its start.
        columns: that hold the text; a file without them ends in a chunk that says so.
        readers: files that are read at once, at most.
    """
    # Readers ask for no core: workers may have taken all.
    return read_datasource(
        _Chunks(files, suffix, columns),
        override_num_blocks=len(files),
        num_cpus=0,
        concurrency=readers,
    )


def chunks_of_table(data: str, columns: Sequence[str], skip: int) -> Dataset:
    """The same of the sample or of a Hub dataset, which is read as a whole, here."""
    frame = read_frame(data)
    check_columns(frame, columns, data)
    parts = (frame.iloc[start : start + ROWS] for start in range(0, len(frame), ROWS))
    return from_arrow([_block([chunk]) for chunk in _placed(parts, data, skip)])


def read_chunks(
    file: Any, suffix: str, name: str, columns: Sequence[str], skip: int = 0
) -> Iterator[Chunk]:
    """The chunks of an open file; the last one says what is wrong with it, if anything is."""
    import pandas as pd

    try:
        yield from _placed(_checked(_frames(file, suffix, name), columns, suffix, name), name, skip)
    except UserError as error:
        yield Chunk(name, 0, pd.DataFrame(), True, str(error))
    except OSError as error:
        reason = " ".join(str(error).split())
        yield Chunk(name, 0, pd.DataFrame(), True, f"cannot read {name}: {reason}")


def _frames(file: Any, suffix: str, name: str) -> Iterator["pd.DataFrame"]:
    if suffix != ".parquet":
        yield from stream_file(io.BufferedReader(file), suffix, name, ROWS, "surrogateescape")
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    with one_line_of_what_is_wrong(suffix, name):
        source = pq.ParquetFile(file)
        yield _typed(source.schema_arrow.empty_table())
        for batch in source.iter_batches(batch_size=ROWS):
            yield _typed(pa.Table.from_batches([batch]))


def _typed(table: "pa.Table") -> "pd.DataFrame":
    """A frame in which every value keeps its type; text that is no UTF-8 as in `stream_file`."""
    import pandas as pd
    import pyarrow as pa

    frame = table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            cells = column.cast(pa.large_binary()).to_pylist()
            text = [cell and cell.decode("utf-8", "surrogateescape") for cell in cells]
            frame[name] = pd.Series(text, dtype=object)
    return frame


def _checked(
    frames: Iterable["pd.DataFrame"], columns: Sequence[str], suffix: str, name: str
) -> Iterator["pd.DataFrame"]:
    expected = columns
    for frame in frames:
        check_columns(frame, expected, name)
        yield frame
        if suffix == ".jsonl":  # no object need have all columns
            expected = ()


def _placed(frames: Iterable["pd.DataFrame"], name: str, skip: int) -> Iterator[Chunk]:
    """Frames with their places, without the first `skip` rows."""
    import pandas as pd

    count, held = 0, Chunk(name, 0, pd.DataFrame(), True)
    for frame in frames:
        done = min(max(skip - count, 0), len(frame))
        if len(held.table):
            yield Chunk(held.file, held.first, held.table, last=False)
        held = Chunk(name, count + done, frame.iloc[done:].reset_index(drop=True), last=True)
        count += len(frame)
    yield held


def _block(chunks: Sequence[Chunk]) -> "pa.Table":
    import pyarrow as pa

    rows = [chunk.pack() for chunk in chunks]
    return pa.table(
        {
            "file": pa.array([row["file"] for row in rows], pa.string()),
            "first": pa.array([row["first"] for row in rows], pa.int64()),
            "table": pa.array([row["table"] for row in rows], pa.large_binary()),
            "last": pa.array([row["last"] for row in rows], pa.bool_()),
            "error": pa.array([row["error"] for row in rows], pa.string()),
        }
    )


def _ray_path(file: str) -> str:
    """The name by which Ray hands over a file: without the scheme of a store."""
    scheme = urlsplit(file).scheme
    return file if scheme in ("", "http", "https") else file.removeprefix(f"{scheme}://")
