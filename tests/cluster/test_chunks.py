"""Files in chunks: every row with its place, every value with its type."""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertjax.cluster import chunks
from bertjax.cluster.chunks import Chunk, read_chunks

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(chunks, "ROWS", 4)


def read(content: bytes, suffix: str, skip: int = 0) -> list[Chunk]:
    return list(read_chunks(io.BytesIO(content), suffix, f"t{suffix}", ["text"], skip))


def table(rows: int) -> dict[str, bytes]:
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(rows)]})
    parquet = io.BytesIO()
    frame.to_parquet(parquet, row_group_size=3)
    return {
        ".csv": frame.to_csv(index=False).encode(),
        ".tsv": frame.to_csv(index=False, sep="\t").encode(),
        ".jsonl": frame.to_json(orient="records", lines=True).encode(),
        ".parquet": parquet.getvalue(),
    }


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("skip", [0, 3, 4, 9])
@pytest.mark.parametrize("rows", [0, 4, 9])
def test_rows_come_once_with_their_places_from_the_first_that_is_wanted(suffix, skip, rows):
    found = read(table(rows)[suffix], suffix, skip)
    assert [chunk.last for chunk in found] == [False] * (len(found) - 1) + [True]
    assert not any(chunk.error for chunk in found)
    pairs = [
        (chunk.first + i, text)
        for chunk in found
        for i, text in enumerate(chunk.table.get("text", []))
    ]
    assert pairs == [(i, f"text {i}") for i in range(skip, rows)]


BROKEN = {
    "csv": (b"text,n\na,1\nb,2,3\n", ".csv", "is not a well-formed .csv"),
    "jsonl": (b'{"text": "a"}\n{"text"\n', ".jsonl", "line 2"),
    "parquet": (b"PAR1 nothing PAR1", ".parquet", "is not a well-formed .parquet"),
    "empty": (b"", ".csv", "is not a well-formed .csv"),
    "column": (b"title\na\n", ".csv", "has no column 'text'; its columns are 'title'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_in_a_chunk_that_says_why(name):
    content, suffix, expected = BROKEN[name]
    *_, last = read(content, suffix)
    assert last.last
    assert expected in last.error
    assert f"t{suffix}" in last.error
    assert "\n" not in last.error


def test_a_cut_parquet_ends_in_a_chunk_that_says_why(tmp_path):
    content = table(9)[".parquet"]
    (found,) = read(content[: len(content) // 2], ".parquet")
    assert "is not a well-formed .parquet" in found.error


def test_bytes_that_are_no_utf8_spoil_only_their_row():
    csv = read(b"text,n\ncaf\xe9,1\nok,2\n", ".csv")
    jsonl = read(b'{"text": "caf\xe9"}\n{"text": "ok"}\n', ".jsonl")
    assert csv[0].table["text"].tolist() == jsonl[0].table["text"].tolist() == ["caf\udce9", "ok"]
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xe9", b"ok"]).buffers())
    file = io.BytesIO()
    pq.write_table(pa.table({"text": text}), file)
    assert read(file.getvalue(), ".parquet")[0].table["text"].tolist() == ["\udce9", "ok"]


def test_values_of_a_parquet_keep_their_types(tmp_path):
    given = pa.table(
        {
            "text": ["a", "b"],
            "count": pa.array([2**60, None], pa.int64()),
            "tags": [["x"], None],
            "more": [{"deep": 1}, None],
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(given, path)
    (found,) = read(Path(path).read_bytes(), ".parquet")
    again = Chunk.unpack(found.pack())
    assert pa.Table.from_pandas(again.table).replace_schema_metadata(None).equals(given)
