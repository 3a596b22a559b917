import io
import json

import pandas as pd
import pytest

from bertjax.data.formats import READERS, STREAMS, read_file, stream_file, write_file
from bertjax.errors import UserError


def read(content: str | bytes, suffix: str) -> pd.DataFrame:
    content = content.encode() if isinstance(content, str) else content
    return read_file(io.BytesIO(content), suffix, f"table{suffix}")


def message(content: str | bytes, suffix: str) -> str:
    with pytest.raises(UserError) as error:
        read(content, suffix)
    text = str(error.value)
    assert text.startswith(f"table{suffix}")
    assert "\n" not in text
    return text


def test_csv_cells_stay_text_and_only_the_empty_one_is_missing():
    frame = read("text\nNA\nnull\nnan\n007\n1.50\nTrue\n''\n", ".csv")
    assert frame["text"].tolist() == ["NA", "null", "nan", "007", "1.50", "True", "''"]
    assert read('text,label\n"",a\n', ".csv")["text"].isna().tolist() == [True]


def test_csv_quotes_hold_separators_and_line_breaks():
    frame = read('text,label\n"one, ""two""\nthree",a\n', ".csv")
    assert frame["text"].tolist() == ['one, "two"\nthree']


def test_a_byte_order_mark_is_no_part_of_the_first_column():
    assert read(b"\xef\xbb\xbftext,label\na,b\n", ".csv").columns.tolist() == ["text", "label"]


def test_a_suffix_may_be_in_capitals():
    assert read("text\na\n", ".CSV")["text"].tolist() == ["a"]


def test_tsv():
    frame = read("text\tlabel\na, b\t1\n", ".tsv")
    assert frame.to_dict("list") == {"text": ["a, b"], "label": ["1"]}


def test_control_characters_emoji_and_other_scripts_survive():
    text = "a\x00b\x07\x1b \u200b👩‍🚀 \u202eעברית हिन्दी 漢字"  # noqa: RUF001
    assert read(f"text,label\n{text},a\n", ".csv")["text"].tolist() == [text]


def test_jsonl_values_keep_their_types_and_blank_lines_do_not_count():
    frame = read('{"t": "2020-01-01", "n": 3}\n\n{"t": "0012", "n": null}\n', ".jsonl")
    assert frame["t"].tolist() == ["2020-01-01", "0012"]
    assert frame["n"].tolist() == [3, None]
    assert isinstance(frame["n"][0], int)


def test_parquet():
    file = io.BytesIO()
    frame = pd.DataFrame({"text": ["a", None], "label": [1, 2]})
    frame.to_parquet(file)
    pd.testing.assert_frame_equal(read(file.getvalue(), ".parquet"), frame)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_an_empty_file_is_an_error(suffix):
    assert "is empty" in message("", suffix)


@pytest.mark.parametrize(("content", "suffix"), [("text,label\n", ".csv"), ("a\tb\n", ".tsv")])
def test_a_file_with_only_a_header_is_an_error(content, suffix):
    assert "a header but no rows" in message(content, suffix)


@pytest.mark.parametrize(
    ("content", "suffix", "reason"),
    [
        ("\n\n", ".csv", "No columns to parse"),
        ("a,b\n1,2\n1,2,3\n", ".csv", "Expected 2 fields in line 3, saw 3"),
        ("a,b\n1,2,3\n4,5,6\n", ".csv", "more fields than its header, which names 2"),
        ('a,b\n"1,2\n', ".csv", "EOF inside string"),
        (b"text\n\xff\xfe\n", ".csv", "can't decode byte 0xff"),
        ('{"a": 1}\n{"a": \n', ".jsonl", "line 2: Expecting value"),
        (b'{"a": 1}\n{"a": "\xff"}\n', ".jsonl", "line 2: 'utf-8' codec"),
        ('{"a": 1}\n\n[1]\n', ".jsonl", "line 3 is not an object"),
        ("text,label\na,b\n", ".parquet", "Parquet"),
    ],
)
def test_a_malformed_file_is_an_error_that_says_what_is_wrong(content, suffix, reason):
    text = message(content, suffix)
    assert f"is not a well-formed {suffix}" in text
    assert reason in text


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ('text,n\na,1\n,2\nNA,3\n"x\ny",4\ne,5\n', ".csv"),
        ("text\tn\na\t1\nb\t2\nc\t3\n", ".tsv"),
        ('{"text": "a", "n": 1}\n\n{"text": "b"}\n{"n": 3, "text": null}\n', ".jsonl"),
    ],
)
def test_a_stream_holds_the_rows_of_the_table_in_frames(content, suffix):
    whole = read(content, suffix)
    frames = list(stream_file(io.BytesIO(content.encode()), suffix, "name", rows=2))
    assert [len(frame) for frame in frames] == [2] * (len(whole) // 2) + [1] * (len(whole) % 2)
    joined = pd.concat(frames, ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole)


@pytest.mark.parametrize(
    ("content", "suffix", "reason"),
    [
        ("a,b\n1,2\n3,4\n5,6,7\n", ".csv", "Expected 2 fields in line 4, saw 3"),
        ("a,b\n1,2,3\n", ".csv", "its rows have more fields than its header"),
        ('{"a": 1}\n{"a": 2}\n{"a"\n', ".jsonl", "line 3"),
    ],
)
def test_what_is_wrong_in_a_stream_shows_where_it_is_reached(content, suffix, reason):
    frames = stream_file(io.BytesIO(content.encode()), suffix, "big", rows=1)
    with pytest.raises(UserError, match=f"big is not a well-formed {suffix}: .*{reason}"):
        list(frames)


def test_all_formats_but_parquet_can_be_streamed():
    assert STREAMS.keys() == READERS.keys() - {".parquet"}


def test_cells_of_any_type_are_written(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [0.1234567890123456, 2**60, None, float("nan")],
            "b": [["x", {"y": None}], "text", pd.Timestamp("2020-01-02"), b"caf\xc3\xa9"],
        },
        dtype=object,
    )
    written = {suffix: tmp_path / f"t{suffix}" for suffix in (".csv", ".jsonl", ".parquet")}
    for path in written.values():
        write_file(frame, path)
    rows = [json.loads(line) for line in written[".jsonl"].read_text().splitlines()]
    assert [row["a"] for row in rows] == [0.1234567890123456, 2**60, None, None]
    assert rows[0]["b"] == ["x", {"y": None}]
    assert [row["b"] for row in rows[1:]] == ["text", "2020-01-02T00:00:00", "café"]
    assert pd.read_csv(written[".csv"])["b"][0] == '["x", {"y": null}]'
    assert pd.read_parquet(written[".parquet"])["b"][:2].tolist() == [
        '["x", {"y": null}]',
        "text",
    ]


def test_bytes_that_are_no_utf8_can_be_let_through():
    for suffix, content in {
        ".csv": b"\xef\xbb\xbftext\ncaf\xe9\n",
        ".jsonl": b'\xef\xbb\xbf{"text": "caf\xe9"}\n',
    }.items():
        file = io.BytesIO(content)
        (frame,) = stream_file(file, suffix, "t", 10, errors="surrogateescape")
        assert frame["text"].tolist() == ["caf\udce9"]
        with pytest.raises(UserError, match="is not a well-formed"):
            list(stream_file(io.BytesIO(content), suffix, "t", 10))
