"""Rows, their split and their tokens."""

import numpy as np
import pytest

from bertjax.data.tokens import load_tokenizer
from bertjax.errors import UserError
from bertjax.workflows.prepare import describe, read_labelled, tokenize_rows


@pytest.fixture
def labelled(table_file):
    return read_labelled(str(table_file), ("title", "description"), "tag", 0.2, 0.1, seed=3)


def test_the_three_parts_share_no_row_and_leave_none_out(labelled):
    parts = [labelled.train, labelled.validation, labelled.test]
    assert [len(part) for part in parts] == [42, 6, 12]
    assert sorted(np.concatenate(parts)) == list(range(60))
    assert [labelled.labels[i] for i in labelled.test].count("money") == 4


def test_sizes_that_leave_nothing_to_train_on_are_refused(table_file):
    with pytest.raises(UserError, match=r"test_size 0.5 and validation_size 0.5 leave no row"):
        read_labelled(str(table_file), ("title",), "tag", 0.5, 0.5, seed=0)


def test_rows_are_tokenized_in_their_order(labelled, packaged_folder):
    tokenizer = load_tokenizer(packaged_folder)
    rows = tokenize_rows(labelled, np.array([1, 0]), tokenizer, max_length=6, clean=False)
    # "bank bank tax euro number 0" is cut to [CLS] bank bank tax euro [SEP]
    assert rows.ids[0].tolist() == [101, 2924, 2924, 4171, 9944, 102]
    assert rows.labels.tolist() == [1, 0]
    assert rows.truncated == 2
    assert rows.lengths.tolist() == [6, 6]


def test_no_rows_have_no_lengths(labelled, packaged_folder):
    rows = tokenize_rows(labelled, np.arange(0), load_tokenizer(packaged_folder), 6, False)
    assert rows.lengths.shape == (0,)
    assert rows.lengths.dtype == np.int64


def test_the_facts_on_the_data(labelled, packaged_folder):
    train = tokenize_rows(labelled, labelled.train, load_tokenizer(packaged_folder), 64, False)
    facts = describe(labelled, train, "table.csv")
    assert facts["rows"] == 60
    assert facts["train_rows"] == 42
    assert facts["train_tokens"] == train.lengths.sum()
    assert facts["classes"] == {"animals": 20, "money": 20, "weather": 20}


@pytest.fixture
def soft(tmp_path):
    """Four rows of two classes, and a third that is never the most probable."""
    path = tmp_path / "weak.csv"
    lines = ["text,tag,tag:a,tag:b,tag:c", "cat,a,0.75,0.25,0", "dog,b,0,0.5,0.5"]
    path.write_text("\n".join([*lines, "cow,a,1,0,0", "rat,b,0.25,0.75,0"]))
    return read_labelled(str(path), ("text",), "tag", 0.5, 0.0, seed=0, soft=True)


def test_soft_labels_are_split_with_their_rows(soft, packaged_folder):
    assert soft.classes == ("a", "b", "c")
    tokenizer = load_tokenizer(packaged_folder)
    rows = tokenize_rows(soft, np.array([3, 1]), tokenizer, max_length=6, clean=False)
    assert rows.labels.tolist() == [1, 1]
    assert rows.targets.tolist() == [[0.25, 0.75, 0], [0, 0.5, 0.5]]
    assert rows.class_counts(3).tolist() == [0.25, 1.25, 0.5]
    facts = describe(soft, rows, "weak.csv")
    assert facts["soft_fingerprint"] == soft.table.soft.fingerprint
    assert facts["classes"] == {"a": 2, "b": 2, "c": 0}


def test_without_soft_labels_targets_are_classes(labelled, packaged_folder):
    tokenizer = load_tokenizer(packaged_folder)
    rows = tokenize_rows(labelled, np.array([1, 0, 3]), tokenizer, max_length=6, clean=False)
    assert rows.targets is rows.labels
    assert rows.class_counts(3).tolist() == [2, 1, 0]
