"""Packing is a matter of speed alone: no text's result, and no step's texts, depend on it.

Gradients of packed rows and of a row a text are compared in test_steps.py.
"""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.data.batches import packed_batches
from bertjax.data.packing import plan_packing

T, S, V = 24, 4, 50  # tokens and texts a row, vocabulary

# Texts of a row, and as many free slots between them as are left.
rows = st.lists(st.integers(1, 6), min_size=1, max_size=S)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def logits_of(make_bert):
    """Texts -> their logits [n, C], packed in one row, by one compiled function a precision."""

    @cache
    def forward_in(precision: str):
        bert = make_bert(precision=precision)
        return jax.jit(
            lambda ids, segments: (
                bert.apply(bert.params, None, ids, segment_ids=segments, max_segments=S).logits
            )
        )

    def logits(texts: list[np.ndarray], start: int = 0, precision="float32") -> np.ndarray:
        ids, segments = np.zeros((2, 1, T), np.int32)
        for number, text in enumerate(texts, 1):
            ids[0, start : start + len(text)] = text
            segments[0, start : start + len(text)] = number
            start += len(text)
        return np.asarray(forward_in(precision)(ids, segments))[0, : len(texts)]

    return logits


def texts_of(lengths: list[int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, V, length).astype(np.int32) for length in lengths]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@settings(deadline=None, max_examples=60)  # the first example compiles
@given(rows, seeds, st.data())
def test_changing_one_text_leaves_the_others_as_they_were_bit_by_bit(
    logits_of, precision, lengths, seed, data
):
    texts = texts_of(lengths, seed)
    changed = data.draw(st.integers(0, len(texts) - 1), "which")
    others = [*texts]
    others[changed] = (texts[changed] + data.draw(st.integers(1, V - 2), "by")) % V
    before, after = (logits_of(t, precision=precision) for t in (texts, others))
    same = [a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True)]
    assert same == [number != changed for number in range(len(texts))]


@settings(deadline=None, max_examples=60)
@given(rows, seeds, st.data())
def test_a_text_has_the_logits_that_it_has_alone_wherever_it_stands(logits_of, lengths, seed, data):
    """So its positions start from 0, and its own first token is what is pooled."""
    texts = texts_of(lengths, seed)
    start = data.draw(st.integers(0, T - sum(lengths)), "start")
    alone = np.concatenate([logits_of([text]) for text in texts])
    np.testing.assert_allclose(logits_of(texts, start), alone, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from([8, 64, 4096]),
    st.integers(1, 8),
    seeds,
)
def test_each_step_takes_the_same_texts_whatever_the_rows(
    lengths, batch_size, hidden_size, devices, seed
):
    texts = texts_of(lengths, 0)

    def steps(**shape) -> list[list[int]]:
        plan = plan_packing(lengths, batch_size, seed, 2, **shape)
        batches = packed_batches(texts, None, plan, seed, 1)
        return [sorted(batch["rows_of"][batch["weights"] > 0].tolist()) for batch in batches]

    narrow = steps(hidden_size=16)
    assert steps(hidden_size=hidden_size, row_multiple=devices, longest=300) == narrow
    assert max(map(len, narrow)) <= batch_size
    assert max(map(len, narrow)) - min(map(len, narrow)) <= 1
