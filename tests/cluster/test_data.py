"""Ingestion: the rows that one process makes of a table, made by many."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bertjax.cluster import data as module
from bertjax.cluster import ingested
from bertjax.cluster.data import ingest, plan_needs
from bertjax.cluster.failures import told_in_one_line
from bertjax.cluster.ingested import PARTS, Ingested, Part, Reading
from bertjax.data.packing import plan_packing
from bertjax.data.shards import count_rows, read_rows, windows_in_order
from bertjax.data.tokens import load_tokenizer
from bertjax.errors import UserError
from bertjax.workflows.prepare import read_labelled, tokenize_rows

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def reading(tmp_path, packaged_folder):
    def make(data, **changes) -> Reading:
        values = {
            "data": str(data),
            "text": ("title", "description"),
            "label": "tag",
            "clean": False,
            "checkpoint": str(packaged_folder),
            "max_length": 7,
            "folder": str(tmp_path / "rows"),
            "vocabulary": 30522,
            "pad_token_id": 0,
            "test_size": 0.2,
            "validation_size": 0.1,
            "seed": 3,
        }
        return Reading(**{**values, **changes})

    return make


def texts_of(found: Ingested, part: Part) -> list[tuple]:
    """(token ids, label) of each row."""
    rows = read_rows(part.shards, windows_in_order(part.shards))
    return [
        (*found.vocabulary[ids].tolist(), found.classes[label])
        for ids, label in zip(rows.ids, rows.labels.tolist(), strict=True)
    ]


def test_a_short_table_becomes_what_one_process_makes_of_it(reading, table_file, packaged_folder):
    found = ingest(reading(table_file))
    labelled = read_labelled(str(table_file), ("title", "description"), "tag", 0.2, 0.1, seed=3)
    tokenizer = load_tokenizer(packaged_folder)
    used = {0}
    for part, indices in (
        (found.train, labelled.train),
        (found.validation, labelled.validation),
        (found.test, labelled.test),
    ):
        rows = tokenize_rows(labelled, indices, tokenizer, 7, clean=False)
        labels = [labelled.labels[i] for i in indices]
        expected = [(*ids, label) for ids, label in zip(rows.ids, labels, strict=True)]
        assert texts_of(found, part) == expected
        assert part.tokens == rows.lengths.sum()
        assert part.longest == rows.lengths.max()
        assert part.counts.tolist() == np.bincount(rows.labels, minlength=3).tolist()
        used |= {int(token) for ids in rows.ids for token in ids}
    assert found.classes == labelled.classes
    assert found.class_rows == dict(Counter(labelled.labels))
    assert found.vocabulary.tolist() == sorted(used)
    assert found.fingerprint == labelled.table.fingerprint
    assert found.truncated == 60  # "cat cat dog horse number 0" and two special tokens
    assert found.dropped == 0
    assert sorted(found.lengths) == [7] * 60


@pytest.fixture
def long_table(tmp_path):
    """400 rows in 4 files, sorted by class; 10 of them have no label."""
    rng = np.random.default_rng(0)
    tags = ["a"] * 200 + ["b"] * 150 + ["c"] * 40 + [""] * 10
    folder = tmp_path / "long"
    folder.mkdir()
    rows = [
        {"title": f"row {i}", "description": " ".join(["word"] * rng.integers(1, 30)), "tag": tag}
        for i, tag in enumerate(tags)
    ]
    for k in range(4):
        frame = pd.DataFrame(rows[k * 100 : (k + 1) * 100])
        frame.to_csv(folder / f"{k}.csv", index=False)
    return folder


def test_a_long_table_is_split_by_class_piece_by_piece(reading, long_table, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 50)
    found = ingest(reading(long_table, max_length=512))
    assert found.class_rows == {"a": 200, "b": 150, "c": 40}
    assert found.dropped == 10
    assert found.test.counts.tolist() == [40, 30, 8]
    assert found.validation.counts.tolist() == [20, 15, 4]
    assert found.train.counts.tolist() == [140, 105, 28]
    parts = [texts_of(found, part) for part in (found.train, found.validation, found.test)]
    assert len({row for part in parts for row in part}) == 390
    assert len(found.train.shards) == 4
    again = ingest(reading(long_table, max_length=512, folder=str(tmp_path / "again")))
    assert [texts_of(again, part) for part in (again.train, again.test)] == [parts[0], parts[2]]
    assert again.fingerprint == found.fingerprint
    other = ingest(reading(long_table, max_length=512, seed=4))
    assert texts_of(other, other.test) != parts[2]


def test_what_was_found_is_kept_for_who_goes_on(reading, long_table, tmp_path):
    asked = reading(long_table, max_length=512)
    assert ingested.read(asked) is None
    found = ingest(asked)
    again = ingested.read(asked)
    assert again is not None
    assert [texts_of(again, getattr(again, name)) for name in PARTS] == [
        texts_of(found, getattr(found, name)) for name in PARTS
    ]
    for name in ("classes", "class_rows", "dropped", "truncated", "fingerprint"):
        assert getattr(again, name) == getattr(found, name)
    for name in ("vocabulary", "lengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    for name in PARTS:
        one, other = getattr(again, name), getattr(found, name)
        assert (one.tokens, one.longest) == (other.tokens, other.longest)
        assert one.counts.tolist() == other.counts.tolist()
    other = reading(long_table, max_length=511)
    assert ingested.read(other) is None
    ingested.refuse_other(asked)
    with pytest.raises(UserError, match=r"max_length was 512 and is 511; give the same settings"):
        ingested.refuse_other(other)
    shards = {Path(shard.path) for name in PARTS for shard in getattr(found, name).shards}
    assert set((tmp_path / "rows").iterdir()) == {*shards, tmp_path / "rows" / "ingested.json"}


def test_of_a_table_that_has_changed_nothing_is_taken(reading, long_table):
    asked = reading(long_table)
    ingest(asked)
    with open(long_table / "3.csv", "a") as file:
        file.write("one more,row,a\n")
    assert ingested.read(asked) is None
    with pytest.raises(UserError, match=r"other settings: files was '\w+' and is '\w+'; give"):
        ingested.refuse_other(asked)


def test_what_is_noted_does_not_outlive_its_shards(reading, long_table, monkeypatch):
    asked = reading(long_table)
    ingest(asked)

    def fail(*_):
        raise RuntimeError("the power is cut")

    monkeypatch.setattr(module, "_split", fail)
    with pytest.raises(RuntimeError):
        ingest(reading(long_table, seed=4))
    assert ingested.read(asked) is None


def test_the_needs_of_steps_are_those_of_a_plan_made_in_memory(reading, long_table):
    found = ingest(reading(long_table, max_length=512, validation_size=0.0))
    rows = read_rows(found.train.shards, windows_in_order(found.train.shards))
    plan = plan_packing([len(ids) for ids in rows.ids], 16, 3, 2, hidden_size=64)
    need = plan_needs(found.train, 16, 3, 2, hidden_size=64)[plan.row_length]
    assert (need.rows, need.segments) == (plan.rows, plan.max_segments)


def test_of_many_windows_the_likeliest_row_lengths_are_asked_about(
    reading, long_table, monkeypatch
):
    monkeypatch.setattr(module, "_EXACT", 0)
    found = ingest(reading(long_table, max_length=512))
    rows = count_rows(found.train.shards)
    plan = plan_packing(
        [len(r) for r in read_rows(found.train.shards, windows_in_order(found.train.shards)).ids],
        rows,
        3,
        1,
        hidden_size=64,
    )
    needs = plan_needs(found.train, rows, 3, 1, hidden_size=64)
    assert len(needs) <= 4  # two where attention is local, and two where it is not
    assert needs[plan.row_length].rows == plan.rows


def test_tokenizing_never_imports_jax(reading, table_file, tmp_path, monkeypatch):
    whole = module._tokenize_block

    def watched(frame, reading):
        import sys

        survey = whole(frame, reading)
        survey.digests.append(json.dumps(sorted(name for name in sys.modules if name == "jax")))
        return survey

    monkeypatch.setattr(module, "_tokenize_block", watched)
    seen: list[str] = []
    monkeypatch.setattr(module, "_digest_of", lambda digests: seen.extend(digests) or "")
    ingest(reading(table_file))
    assert seen[1] == "[]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title,description,tag\na,b,\nc,d,\n", "every row of the label column 'tag' is empty"),
        ("title,description,tag\na,b,x\nc,d,x\n", "only 'x' in 2 rows; is this the label column"),
        ("title,description,tag\na,b,x\nc,d,x\ne,f,y\n", "too small to split: 'y'"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(reading, tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message), told_in_one_line("reading"):
        ingest(reading(path))


def test_a_file_without_rows_is_no_hindrance(reading, long_table):
    (long_table / "1a.csv").write_text("title,description,tag\n")
    assert ingest(reading(long_table)).rows == 390
