import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.batches import packed_batches, packed_in_order
from bertjax.data.packing import plan_packing

PAD = 7

lengths_of_texts = st.lists(st.integers(2, 60), min_size=1, max_size=50)


def texts_of(lengths) -> list[np.ndarray]:
    """Texts that no two share a token, so that a misplaced one shows."""
    return [np.arange(n, dtype=np.int32) + 1000 * i for i, n in enumerate(lengths, start=1)]


def check(batch, token_ids, labels, plan) -> list[int]:
    """The indices of the texts of a batch, every array of which is as its definition says."""
    rows, tokens, segments = plan.rows, plan.row_length, plan.max_segments
    assert batch["input_ids"].shape == batch["segment_ids"].shape == (rows, tokens)
    assert batch["labels"].shape == batch["weights"].shape == (rows, segments)
    assert {str(batch[name].dtype) for name in batch if name != "weights"} == {"int32"}
    assert batch["weights"].dtype == np.float32
    for row in range(rows):
        found = batch["rows_of"][row]
        texts = found[found >= 0].tolist()
        assert found.tolist() == texts + [-1] * (segments - len(texts))
        expected = [token for text in texts for token in token_ids[text]]
        padding = [PAD] * (tokens - len(expected))
        assert batch["input_ids"][row].tolist() == expected + padding
        numbers = [n for n, text in enumerate(texts, start=1) for _ in token_ids[text]]
        assert batch["segment_ids"][row].tolist() == numbers + [0] * len(padding)
        absent = [0] * (segments - len(texts))
        assert batch["weights"][row].tolist() == [1] * len(texts) + absent
        assert batch["labels"][row].tolist() == [labels[text] for text in texts] + absent
    return batch["rows_of"][batch["rows_of"] >= 0].tolist()


@given(lengths_of_texts, st.integers(1, 16))
def test_packed_batches_hold_every_text_of_an_epoch_once(lengths, batch_size):
    token_ids, labels = texts_of(lengths), np.arange(1, len(lengths) + 1)
    plan = plan_packing(lengths, batch_size, seed=3, epochs=2, hidden_size=64, row_multiple=2)
    for epoch in range(2):
        batches = list(packed_batches(token_ids, labels, plan, 3, epoch, PAD))
        assert len(batches) == plan.steps
        seen = [text for batch in batches for text in check(batch, token_ids, labels, plan)]
        assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_texts, lengths_of_texts)
def test_packed_in_order_holds_every_text_of_another_table_once(lengths, others):
    token_ids, labels = texts_of(others), np.arange(1, len(others) + 1)
    plan = plan_packing(lengths, 8, seed=0, epochs=1, hidden_size=64, longest=max(others))
    batches = list(packed_in_order(token_ids, labels, plan, PAD))
    seen = [text for batch in batches for text in check(batch, token_ids, labels, plan)]
    assert sorted(seen) == list(range(len(others)))


def test_epochs_differ_and_repeat_exactly():
    token_ids = texts_of(range(3, 43))
    plan = plan_packing(range(3, 43), 8, seed=0, epochs=2, hidden_size=64)

    def first_rows(epoch):
        return next(packed_batches(token_ids, None, plan, 0, epoch))["input_ids"].tolist()

    assert first_rows(0) == first_rows(0) != first_rows(1)


def test_without_labels_the_weights_still_mark_the_texts():
    plan = plan_packing([5, 5], 2, seed=0, epochs=1, hidden_size=64)
    (batch,) = packed_batches(texts_of([5, 5]), None, plan, 0, 0)
    assert batch["labels"].tolist() == [[0, 0]]
    assert batch["weights"].tolist() == [[1, 1]]


def test_labels_may_be_vectors_and_keep_their_type():
    labels = np.array([[1, 0, 0.5], [0, 1, 0.25]], np.float32)
    plan = plan_packing([5, 6], 2, seed=0, epochs=1, hidden_size=64)
    (batch,) = packed_in_order(texts_of([5, 6]), labels, plan)
    assert batch["labels"].dtype == np.float32
    np.testing.assert_array_equal(batch["labels"], [labels[::-1]])  # the longer text comes first


def test_fewest_batches_for_evaluation():
    plan = plan_packing([16] * 8, 8, seed=0, epochs=1, hidden_size=1)  # 4 rows of 2 texts
    assert len(list(packed_in_order(texts_of([16] * 17), None, plan))) == 3
    assert list(packed_in_order([], None, plan)) == []


def test_a_plan_for_other_texts_is_refused():
    plan = plan_packing([16] * 8, 8, seed=0, epochs=1, hidden_size=1)
    with pytest.raises(ValueError, match="does not fit the plan"):
        next(packed_batches(texts_of([30] * 8), None, plan, 0, 0))
