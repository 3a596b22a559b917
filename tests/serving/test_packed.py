"""Many texts are computed in packed rows: what is theirs comes back to each."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.data.bulk import plan_bulk
from bertjax.serving import packed
from bertjax.serving.packed import compute_packed

LENGTHS = [3, 7, 1, 12, 5, 9] * 150 + [500, 430] * 6


@pytest.fixture
def texts():
    return [np.full(length, number, np.int32) for number, length in enumerate(LENGTHS, 1)]


def groups_of(texts):
    found = plan_bulk([len(ids) for ids in texts], 384, slots=512)
    assert len(found) > 1
    assert all(group.plan.steps > 2 for group in found)
    return found


def sums(input_ids, segment_ids, max_segments):
    """Of each text's tokens, and their number."""
    own = jax.nn.one_hot(segment_ids - 1, max_segments, dtype=jnp.float32)
    ids = jnp.asarray(input_ids, jnp.float32)
    return jnp.stack([jnp.einsum("rt,rts->rs", ids, own), own.sum(1)], axis=-1)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # where the calls are only dispatched
def test_each_text_gets_its_own(texts, backend, monkeypatch):
    monkeypatch.setattr(packed.jax, "default_backend", lambda: backend)
    traced = []

    def program(input_ids, segment_ids, max_segments):
        traced.append(input_ids.shape)
        return sums(input_ids, segment_ids, max_segments)

    found = groups_of(texts)
    compiled = jax.jit(program, static_argnums=2)
    result = compute_packed(compiled, texts, found, 2, 0)
    expected = [(number * length, length) for number, length in enumerate(LENGTHS, 1)]
    np.testing.assert_array_equal(result, np.array(expected, np.float32))
    assert len(traced) == len(found)  # no shape twice, though threads ask for it


def test_two_calls_run_at_a_time_on_a_processor(texts):
    both, called = Barrier(2), []

    def program(input_ids, segment_ids, max_segments):
        called.append(input_ids.shape)
        if called.count(input_ids.shape) > 1:  # the first compiles, alone
            both.wait(timeout=60)  # broken if no other comes
        return sums(input_ids, segment_ids, max_segments)

    odd = [group for group in groups_of(texts) if batches_of(texts, group) % 2]
    compute_packed(program, texts, odd, 2, 0)
    assert len(called) > 2 * len(odd)


def test_settings_by_context_reach_no_batch_or_all(texts):
    """Else some would be computed with them, and others without."""
    seen = []

    def program(input_ids, segment_ids, max_segments):
        seen.append(jax.config.jax_default_matmul_precision)
        return sums(input_ids, segment_ids, max_segments)

    with jax.default_matmul_precision("bfloat16"):
        compute_packed(program, texts, groups_of(texts), 2, 0)
    assert len(set(seen)) == 1


def test_after_a_failure_nothing_more_is_computed(texts, monkeypatch):
    called, stopped = [], Event()

    class Pool(ThreadPoolExecutor):
        """Tells when whoever waited for its results has learnt of the failure."""

        def shutdown(self, *arguments, **options):
            stopped.set()
            super().shutdown(*arguments, **options)

    def program(input_ids, segment_ids, max_segments):
        called.append(input_ids.shape)
        if len(called) == 3:
            raise ValueError("broken")
        if len(called) > 3:  # what the threads had in hand
            assert stopped.wait(timeout=60)
        return sums(input_ids, segment_ids, max_segments)

    monkeypatch.setattr(packed, "ThreadPoolExecutor", Pool)
    with pytest.raises(ValueError, match="broken"):
        compute_packed(program, texts, groups_of(texts), 2, 0)
    assert len(called) <= 3 + packed.AT_ONCE


def test_a_group_without_texts_is_no_call(texts):
    (group, *_) = groups_of(texts)
    none = replace(group, texts=np.array([], np.int64))
    assert compute_packed(sums, [], [none], 2, 0).shape == (0, 2)


def test_an_accelerator_is_told_of_all_before_the_first_is_waited_for(texts, monkeypatch):
    monkeypatch.setattr(packed.jax, "default_backend", lambda: "gpu")
    order = []

    class Waited:
        def __init__(self, values):
            order.append("dispatched")
            self.values = values

        def __array__(self, dtype=None, copy=None):
            order.append("waited for")
            return np.asarray(self.values)

    compute_packed(lambda *inputs: Waited(sums(*inputs)), texts, groups_of(texts), 2, 0)
    count = len(order) // 2
    assert order == ["dispatched"] * count + ["waited for"] * count


def batches_of(texts, group):
    ids = [texts[text] for text in group.texts]
    return len(list(packed.packed_in_order(ids, None, group.plan, 0)))
