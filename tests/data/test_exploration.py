"""The numbers of a table, by hand."""

import numpy as np
import pytest

from bertjax.data.exploration import (
    Leak,
    blank_cells,
    class_counts,
    describe_lengths,
    frequent_words,
    histogram,
    label_conflicts,
    leaks,
    word_counts,
)


def test_cells_of_spaces_are_blank():
    assert blank_cells({"a": ["x", "", " \t"], "b": ["1", "2", "3"]}) == {"a": 2, "b": 0}


def test_classes_come_by_their_rows_then_by_name():
    counts = class_counts(["b", "a", "", "c", "c", "b"])
    assert list(counts.items()) == [("b", 2), ("c", 2), ("a", 1)]
    assert class_counts(["", ""]) == {}


def test_words_are_parted_by_spaces():
    assert word_counts(["", "one", " two  words\n"]).tolist() == [0, 1, 2]


def test_lengths_are_described():
    found = describe_lengths(np.array([1, 2, 3, 4, 100]), limit=4)
    assert found["min"] == 1
    assert found["median"] == 3
    assert found["mean"] == 22
    assert found["max"] == 100
    assert found["over_limit"] == 1
    assert "limit" not in describe_lengths(np.array([1]))


def test_a_histogram_counts_each_length_once():
    found = histogram(np.array([2, 2, 3, 5]), bins=10)
    assert found == {"edges": [2, 3, 4, 5, 6], "counts": [2, 1, 0, 1], "beyond": 0}
    lengths = np.arange(1, 101)
    found = histogram(lengths, bins=30)
    assert found["edges"][:2] == [1, 5]  # 4 wide: 25 bins
    assert found["counts"] == [4] * 25


def test_a_text_that_is_far_longer_goes_into_the_last_bin():
    lengths = np.array([10] * 150 + [20] * 50 + [100_000])
    found = histogram(lengths)
    assert found["edges"][-1] <= 40
    assert found["counts"][-1] == 51
    assert sum(found["counts"]) == 201
    assert found["beyond"] == 1


@pytest.mark.parametrize("lengths", [[0], [7], [0, 0, 0], [0, 10**6]])
def test_a_histogram_of_few_lengths(lengths):
    found = histogram(np.array(lengths))
    assert sum(found["counts"]) == len(lengths)
    assert len(found["edges"]) == len(found["counts"]) + 1


def test_frequent_words_leave_out_stop_words_numbers_and_links():
    texts = ["The cat's 12 lives", "A cat and a dog https://cat.cat", "everyone's CAT"]
    assert frequent_words(texts) == [("cat", 3), ("dog", 1), ("lives", 1)]
    assert frequent_words(texts, most=1) == [("cat", 3)]
    assert frequent_words(["", "the"]) == []


def test_one_text_with_two_labels_is_a_conflict_and_a_missing_label_is_none():
    groups = [[0, 1], [2, 3], [4, 5, 6]]
    labels = ["a", "b", "a", "", "a", "a", "c"]
    assert label_conflicts(groups, labels) == [[0, 1], [4, 5, 6]]


def test_a_leak_is_a_test_row_like_a_training_row():
    groups = [[0, 5], [1, 2], [3, 6, 7]]
    assert leaks(groups, train=[0, 1, 2, 3], test=[5, 6, 7]) == [Leak(5, 0), Leak(6, 3), Leak(7, 3)]
    assert leaks(groups, train=[1], test=[2]) == [Leak(2, 1)]
    assert leaks([], [0], [1]) == []
