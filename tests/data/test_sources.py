import json
from pathlib import Path

import pandas as pd
import pytest

from bertjax.data import sources
from bertjax.data.sources import read_frame, read_table
from bertjax.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write_file(content: str, name: str = "table.csv") -> str:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write_file


def message(read, *arguments) -> str:
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_text_columns_are_joined_by_one_space_and_missing_text_is_empty(write):
    data = write("title,body,tag\na,b c,x\n,d,y\ne,,x\n,,y\n")
    table = read_table(data, ["title", "body"], "tag")
    assert table.texts == ["a b c", "d", "e", ""]
    assert table.labels == ["x", "y", "x", "y"]
    assert table.dropped == 0


def test_one_text_column_may_be_given_as_a_string(write):
    assert read_table(write("title,t\na,b\n"), "title", None).texts == ["a"]


def test_rows_without_a_label_are_dropped_and_counted(write):
    table = read_table(write("text,tag\na,x\nb,\nc,y\nd,\n"), ["text"], "tag")
    assert (table.texts, table.labels, table.dropped) == (["a", "c"], ["x", "y"], 2)


def test_without_a_label_column_every_row_is_kept(write):
    table = read_table(write("text,tag\na,x\nb,\n"), ["text"], None)
    assert (table.texts, table.labels, table.dropped) == (["a", "b"], None, 0)


def test_labels_become_text(tmp_path, write):
    pd.DataFrame({"t": ["a", "b", "c"], "n": [3, None, 4]}).to_parquet(tmp_path / "n.parquet")
    assert read_table(str(tmp_path / "n.parquet"), ["t"], "n").labels == ["3", "4"]

    rows = [{"t": "a", "l": value} for value in (True, 3, 3.0, 2.5, None, "x", "")]
    data = write("\n".join(map(json.dumps, rows)), "l.jsonl")
    assert read_table(data, ["t"], "l").labels == ["True", "3", "3", "2.5", "x"]


def test_unknown_columns_are_an_error_that_lists_those_that_are(write):
    data = write("title,tag\na,x\n")
    text = message(read_table, data, ["title", "body"], "label")
    assert "has no column 'body', 'label'; its columns are 'title', 'tag'" in text
    assert "at least one text column" in message(read_table, data, [], None)


def test_a_label_column_without_any_label_is_an_error(write):
    text = message(read_table, write("text,tag\na,\nb,\n"), ["text"], "tag")
    assert "every row of the label column 'tag' is empty" in text


def test_the_fingerprint_depends_on_texts_labels_and_their_borders(write):
    def fingerprint(rows: str, label: str | None = "l") -> str:
        return read_table(write(f"t,l\n{rows}"), ["t"], label).fingerprint

    first = fingerprint("ab,c\n")
    assert len(first) == 64
    assert first == fingerprint("ab,c\n")
    others = [fingerprint("a,bc\n"), fingerprint("ab,d\n"), fingerprint("ab,c\n", None)]
    assert len({first, *others}) == 4


def test_lone_surrogates_of_json_are_read(write):
    table = read_table(write('{"t": "a\\ud800b", "l": 1}', "s.jsonl"), ["t"], "l")
    assert table.texts == ["a\ud800b"]


def test_a_text_of_100_000_words_is_read_whole(write):
    text = "word " * 100_000
    assert read_table(write(f"t,l\n{text},x\n"), ["t"], "l").texts == [text]


def test_a_url_reads_as_the_file_does(write):
    data = write("t\na\n")
    pd.testing.assert_frame_equal(read_frame(Path(data).as_uri()), read_frame(data))


def test_a_url_that_answers_nothing_is_an_error(tmp_path):
    text = message(read_frame, (tmp_path / "none.csv").as_uri())
    assert "cannot download 'file://" in text
    assert "cannot download" in message(read_frame, "http://local host/a\nb.csv")


@pytest.mark.parametrize("url", ["https://host/table", "https://host/t.xlsx?a=b.csv"])
def test_a_url_must_end_in_a_known_suffix(url):
    assert "expected a .csv, .tsv, .jsonl or .parquet" in message(read_frame, url)


def test_a_missing_file_is_an_error(tmp_path):
    assert "there is no file" in message(read_frame, str(tmp_path / "none.csv"))


@pytest.mark.parametrize("name", ["table.xlsx", "none.json"])
def test_an_unknown_suffix_is_an_error_whether_or_not_the_file_is_there(write, name):
    write("text\na\n", "table.xlsx")
    text = message(read_frame, name)
    assert "expected a .csv" in text
    assert f"found the suffix '{Path(name).suffix}'" in text


def test_a_folder_is_an_error(tmp_path):
    assert "expected a .csv" in message(read_frame, str(tmp_path))
    (tmp_path / "folder.csv").mkdir()
    assert "cannot open" in message(read_frame, str(tmp_path / "folder.csv"))


@pytest.mark.parametrize("data", ["s3://bucket/a b", "a b c", "one/two/three", "x" * 5000 + " "])
def test_what_is_no_kind_of_data_is_an_error(data):
    assert "cannot tell what DATA" in message(read_frame, data)


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        ("imdb", ("imdb", "train")),
        ("owner/name-v1.5#test[:10%]", ("owner/name-v1.5", "test[:10%]")),
    ],
)
def test_other_names_are_datasets_of_the_hub(monkeypatch, data, asked):
    calls = []

    def read_hub_dataset(name, split):
        calls.append((name, split))
        return pd.DataFrame({"text": ["a"]})

    monkeypatch.setattr(sources, "read_hub_dataset", read_hub_dataset)
    assert read_frame(data)["text"].tolist() == ["a"]
    assert calls == [asked]


def test_a_hub_dataset_without_rows_is_an_error(monkeypatch):
    monkeypatch.setattr(sources, "read_hub_dataset", lambda name, split: pd.DataFrame({"t": []}))
    assert "has no rows" in message(read_frame, "owner/name")


def test_the_embedded_sample_has_texts_and_four_classes():
    table = read_table("sample", ["title", "description"], "tag")
    assert len(table.texts) >= 480
    assert len(set(table.labels or [])) == 4
    assert table.dropped == 0
