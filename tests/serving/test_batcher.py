import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.serving.batcher import Batch, Batcher, Closed, QueueFull

TIMEOUT = 20  # seconds, of what should take none


def piece(value: int, length: int = 10) -> np.ndarray:
    return np.full(length, value, np.int32)


def first_and_length(pieces: list[np.ndarray]) -> np.ndarray:
    return np.array([[ids[0], len(ids)] for ids in pieces], np.float32)


class Machine:
    """A function that can be held, and remembers what it was called with."""

    def __init__(self):
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.held = threading.Event()
        self.held.set()

    def __call__(self, pieces: list[np.ndarray]) -> np.ndarray:
        self.batches.append([int(ids[0]) for ids in pieces])
        self.entered.release()
        assert self.held.wait(TIMEOUT)
        if any(ids[0] < 0 for ids in pieces):
            raise RuntimeError("a piece below zero")
        return first_and_length(pieces)

    def hold(self, batcher: Batcher) -> None:
        """Keep the thread in a batch, so that others must wait."""
        self.held.clear()
        batcher.submit([piece(0)])
        assert self.entered.acquire(timeout=TIMEOUT)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def batcher(machine):
    batcher = Batcher(machine, token_budget=40, max_queue=20)
    yield batcher
    machine.held.set()
    batcher.close()


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), max_size=12))
def test_every_request_gets_the_values_of_its_own_pieces_in_order(requests):
    told: list[Batch] = []
    batcher = Batcher(first_and_length, token_budget=60, max_queue=1000, tell=told.append)
    futures = [batcher.submit([piece(n, n) for n in request]) for request in requests]
    batcher.close()
    for request, future in zip(requests, futures, strict=True):
        assert future.result(TIMEOUT).tolist() == [[n, n] for n in request]
    assert sum(batch.pieces for batch in told) == sum(map(len, requests))
    assert sum(batch.tokens for batch in told) == sum(map(sum, requests))
    assert batcher.waiting == 0


def test_what_arrives_while_a_batch_is_computed_is_computed_together(machine, batcher):
    machine.hold(batcher)
    futures = [batcher.submit([piece(n)]) for n in (1, 2, 3)]
    machine.held.set()
    assert [future.result(TIMEOUT)[0, 0] for future in futures] == [1, 2, 3]
    assert machine.batches == [[0], [1, 2, 3]]


def test_a_batch_has_no_more_tokens_than_the_budget(machine, batcher):
    machine.hold(batcher)
    future = batcher.submit([piece(n) for n in (1, 2, 3, 4, 5)] + [piece(6, 100)])
    machine.held.set()
    future.result(TIMEOUT)
    assert machine.batches == [[0], [1, 2, 3, 4], [5], [6]]  # of 40 tokens; one of 100 alone


def test_a_request_of_many_pieces_delays_another_by_a_batch_at_most(machine, batcher):
    machine.hold(batcher)
    many = batcher.submit([piece(n) for n in range(1, 11)])
    one = batcher.submit([piece(99)])
    machine.held.set()
    one.result(TIMEOUT)
    many.result(TIMEOUT)
    assert machine.batches[1] == [1, 99, 2, 3]


def test_a_lone_request_does_not_wait_for_others(machine):
    batcher = Batcher(machine, token_budget=40, max_wait=3600)
    assert batcher.submit([piece(1)]).result(TIMEOUT)[0, 0] == 1
    batcher.close()


def test_a_batch_waits_for_a_request_that_is_on_its_way(machine):
    batcher = Batcher(machine, token_budget=40, max_wait=3600)
    with batcher.expecting():
        first = batcher.submit([piece(1)])
        second = batcher.submit([piece(2)])
    first.result(TIMEOUT)
    second.result(TIMEOUT)
    assert machine.batches == [[1, 2]]
    batcher.close()


def test_a_batch_waits_no_longer_than_the_bound_and_not_when_it_is_full(machine):
    batcher = Batcher(machine, token_budget=40, max_wait=0.001)
    with batcher.expecting():
        assert batcher.submit([piece(1)]).result(TIMEOUT)[0, 0] == 1
    batcher.close()
    batcher = Batcher(machine, token_budget=40, max_wait=3600)
    with batcher.expecting():
        assert batcher.submit([piece(2, 40)]).result(TIMEOUT)[0, 0] == 2
    batcher.close()


def test_a_full_queue_takes_nothing_more_until_it_has_room(machine, batcher):
    machine.hold(batcher)
    batcher.submit([piece(1)] * 19)
    with pytest.raises(QueueFull):
        batcher.submit([piece(2)] * 2)
    last = batcher.submit([piece(3)])
    assert batcher.waiting == 20
    machine.held.set()
    last.result(TIMEOUT)


def test_what_is_cancelled_is_not_computed_and_gives_its_place_back(machine, batcher):
    machine.hold(batcher)
    gone = batcher.submit([piece(1)] * 20)
    assert gone.cancel()
    assert batcher.waiting == 0
    kept = batcher.submit([piece(2)] * 20)
    machine.held.set()
    kept.result(TIMEOUT)
    assert {n for batch in machine.batches[1:] for n in batch} == {2}
    with pytest.raises(CancelledError):
        gone.result(TIMEOUT)


def test_the_rest_of_a_request_that_is_cancelled_half_way_is_dropped():
    batches: list[list[int]] = []
    entered, go = threading.Semaphore(0), threading.Semaphore(0)

    def run(pieces: list[np.ndarray]) -> np.ndarray:
        batches.append([int(ids[0]) for ids in pieces])
        entered.release()
        assert go.acquire(timeout=TIMEOUT)
        return first_and_length(pieces)

    batcher = Batcher(run, token_budget=40)
    gone = batcher.submit([piece(n) for n in range(1, 13)])  # three batches
    go.release()
    for _ in range(2):
        assert entered.acquire(timeout=TIMEOUT)
    kept = batcher.submit([piece(99)])
    assert gone.cancel()  # while its second one is computed
    go.release(2)
    assert kept.result(TIMEOUT)[0, 0] == 99
    batcher.close()
    assert batches == [[1, 2, 3, 4], [5, 6, 7, 8], [99]]
    assert batcher.waiting == 0


def test_a_failure_is_told_to_those_in_the_batch_and_ends_nothing_else(machine, batcher):
    machine.hold(batcher)
    bad = batcher.submit([piece(-1)] + [piece(1)] * 8)
    machine.held.set()
    with pytest.raises(RuntimeError, match="a piece below zero"):
        bad.result(TIMEOUT)
    assert batcher.submit([piece(2)]).result(TIMEOUT)[0, 0] == 2
    assert {1} not in [set(batch) for batch in machine.batches]  # the rest of the bad one


def test_close_answers_what_is_in_the_queue_and_takes_nothing_more(machine, batcher, until):
    machine.hold(batcher)
    futures = [batcher.submit([piece(n)] * 3) for n in (1, 2, 3)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    until(lambda: batcher._closed)
    machine.held.set()
    closing.join(TIMEOUT)
    assert [future.result(0)[0, 0] for future in futures] == [1, 2, 3]
    with pytest.raises(Closed):
        batcher.submit([piece(4)])


def test_what_is_submitted_before_it_begins_waits_and_has_a_place_in_the_queue(machine):
    batcher = Batcher(machine, token_budget=40, max_queue=2, begun=False)
    futures = [batcher.submit([piece(n)]) for n in (1, 2)]
    with pytest.raises(QueueFull):
        batcher.submit([piece(3)])
    assert batcher.works
    assert not batcher.begun
    assert machine.batches == []
    batcher.begin()
    assert [future.result(TIMEOUT)[0, 0] for future in futures] == [1, 2]
    assert machine.batches == [[1, 2]]
    batcher.close()


def test_close_before_it_begins_computes_nothing_and_tells_those_who_wait(machine):
    batcher = Batcher(machine, token_budget=40, begun=False)
    future, gone = batcher.submit([piece(1)]), batcher.submit([piece(2)])
    gone.cancel()
    batcher.close()
    with pytest.raises(Closed):
        future.result(TIMEOUT)
    assert machine.batches == []
    assert batcher.waiting == 0


def test_the_seconds_of_a_batch_are_those_of_computing_it_alone(monkeypatch):
    now = 0.0

    def run(pieces: list[np.ndarray]) -> np.ndarray:
        nonlocal now
        now += 3
        return first_and_length(pieces)

    @contextmanager
    def alone() -> Iterator[None]:
        nonlocal now
        now += 100  # another computes
        yield

    monkeypatch.setattr("bertjax.serving.batcher.time.perf_counter", lambda: now)
    told: list[Batch] = []
    batcher = Batcher(run, token_budget=40, tell=told.append, alone=alone())
    batcher.submit([piece(1)])
    batcher.close()
    assert told == [Batch(pieces=1, tokens=10, seconds=3)]


def test_what_fails_after_a_batch_ends_neither_the_thread_nor_answers(machine):
    def fail(batch: Batch) -> None:
        raise RuntimeError("the log is full")

    batcher = Batcher(machine, token_budget=40, tell=fail)
    for value in (1, 2):
        assert batcher.submit([piece(value)]).result(TIMEOUT)[0, 0] == value
    assert batcher.works
    batcher.close()
    assert not batcher.works
