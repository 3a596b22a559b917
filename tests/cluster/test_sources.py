"""Streams of tables: the rows of `read_frame`, in order, from files of any kind and number."""

import json
import re

import pandas as pd
import pytest

from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.sources import list_files, stream_table
from bertjax.data.formats import WRITERS
from bertjax.data.sources import read_frame, text_of
from bertjax.errors import UserError

pytestmark = pytest.mark.usefixtures("ray_here")

ROWS = pd.DataFrame({"text": ["a", "NA", "007", 'x "y", z', "e\nf"], "tag": list("mnmnm")})


def rows_of(data, columns=("text", "tag")) -> list[list]:
    return [[row[name] for name in columns] for row in stream_table(str(data), columns).iter_rows()]


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_a_file_of_any_kind_gives_its_rows(suffix, tmp_path):
    path = tmp_path / f"table{suffix}"
    WRITERS[suffix](ROWS.assign(other=1), path)
    assert rows_of(path) == ROWS.to_numpy().tolist()
    assert rows_of(path, ("tag",)) == ROWS[["tag"]].to_numpy().tolist()


def test_a_folder_gives_the_rows_of_its_files_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a/2", "a/10", "_hidden", ".hidden"):
        path = tmp_path / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        ROWS.assign(text=name).to_csv(path, index=False)
    assert [row[0] for row in rows_of(tmp_path)] == ["a/10"] * 5 + ["a/2"] * 5 + ["b"] * 5
    assert all(file.startswith("/") for file in list_files(str(tmp_path)) or [])


def test_the_sample_is_a_table_too():
    expected = read_frame("sample")[["title", "tag"]]
    assert rows_of("sample", ("title", "tag")) == expected.to_numpy().tolist()


def test_no_object_need_have_all_columns(tmp_path):
    path = tmp_path / "table.jsonl"
    lines = [{"text": "a", "tag": 1}, {"tag": 2, "other": 3}, {"text": ["b"], "tag": None}]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = stream_table(str(path), ("text", "tag")).take_batch(batch_format="pandas")
    assert text_of(found, ("text",), "found") == ["a", "", "['b']"]
    assert text_of(found, ("tag",), "found") == ["1", "2", ""]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no .csv, .tsv, .jsonl, .parquet file"),
        ({"notes.txt": "x"}, "holds no .csv"),
        ({"a.csv": "text,tag\n", "b.tsv": "x"}, "files of several kinds ('.csv', '.tsv')"),
        ({"a.csv": "words,tag\nx,y\n"}, "a.csv has no column 'text'; its columns are 'words'"),
        ({"a.csv": ""}, "a.csv is not a well-formed .csv: No columns"),
        ({"a.csv": "text,tag\n"}, "a.csv has no rows"),
        ({"a.parquet": "no parquet"}, "a.parquet is not a well-formed .parquet"),
    ],
)
def test_what_cannot_be_read_is_told_at_once(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        stream_table(str(tmp_path), ("text", "tag"))


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".csv", 'text,tag\n"never closed,x\n', "b.csv is not a well-formed .csv: .*EOF"),
        (".csv", "words,tag\nx,y\n", "b.csv has no column 'text'"),
        (".jsonl", '{"text": "x"\n', "b.jsonl is not a well-formed .jsonl: line 1"),
        (".parquet", "no parquet", "b.parquet is not a well-formed .parquet"),
    ],
)
def test_a_file_that_is_broken_in_the_middle_of_a_folder_is_named(
    suffix, content, message, tmp_path
):
    for name in ("a", "c"):
        WRITERS[suffix](ROWS, tmp_path / f"{name}{suffix}")
    (tmp_path / f"b{suffix}").write_text(content)
    with pytest.raises(UserError, match=message) as error, told_in_one_line("reading"):
        stream_table(str(tmp_path), ("text", "tag")).take_all()
    assert "\n" not in str(error.value)
