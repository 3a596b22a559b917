from typing import Any

import numpy as np

from benchmarks.children.step_texts import make_batch, make_texts


def settings(**options: Any) -> dict[str, Any]:
    return {"texts": 400, "length": 64, "sizes": {"vocab_size": 100}, **options}


def test_texts_are_as_long_as_a_row_or_half_of_it_on_average() -> None:
    assert {len(text) for text in make_texts(settings())} == {64}
    lengths = [len(text) for text in make_texts(settings(lengths="half"))]
    assert len(set(lengths)) > 50
    assert 1 <= min(lengths) < max(lengths) < 64
    assert abs(np.mean(lengths) - 32) < 3


def test_packed_rows_hold_the_texts_that_padded_ones_do() -> None:
    packed = make_batch(settings(lengths="half", packed=True), labels=2)
    padded = make_batch(settings(lengths="half", packed=False), labels=2)
    assert padded["input_ids"].shape == (400, 64)
    assert len(packed["input_ids"]) < 0.6 * 400
    assert packed["weights"].sum() == padded["weights"].sum() == 400
    for batch in (packed, padded):
        assert batch["labels"].shape == batch["weights"].shape
        assert set(np.unique(batch["labels"])) == {0, 1}

    def tokens(batch):
        return np.sort(batch["input_ids"][batch["segment_ids"] > 0])

    np.testing.assert_array_equal(tokens(packed), tokens(padded))
