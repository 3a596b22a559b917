"""Requests that arrive together are computed together.

One thread computes. Whenever it is free it takes pieces from the requests that wait, one of each in
turn, until a budget of tokens is reached: so a request of many texts delays one of a single text by
a batch at the most. It waits for more only while a request is known to be on its way, and not
longer than a bound.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Run = Callable[[list[np.ndarray]], np.ndarray]  # token ids of P pieces -> [P, ...]


class Batch(NamedTuple):
    """What is told of a batch that was computed."""

    pieces: int
    tokens: int
    seconds: float


class QueueFull(Exception):
    """More pieces wait than may."""


class Closed(Exception):
    """No request is taken any more."""


@dataclass(eq=False)
class _Job:
    """A request: some of its pieces are computed, some are being so, some wait."""

    pieces: Sequence[np.ndarray]
    arrived: float
    future: Future = field(default_factory=Future)  # of [P, ...]
    taken: int = 0
    values: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return len(self.pieces) - self.taken


class Batcher:
    """A queue in front of a function, and the thread that calls it.

    Args:
        run: what is computed of a list of token ids.
        token_budget: tokens of a batch; one piece may exceed it.
        max_wait: seconds for which a batch waits for requests that are on their way.
        max_queue: pieces that may wait.
        tell: is called after each batch.
        begun: whether anything is computed before `begin` is called.
        alone: is held while a batch is computed; the wait for it is not part of what is told.
    """

    def __init__(
        self,
        run: Run,
        token_budget: int,
        max_wait: float = 0.002,
        max_queue: int = 1024,
        tell: Callable[[Batch], None] = lambda batch: None,
        begun: bool = True,
        alone: AbstractContextManager | None = None,
    ):
        self._run = run
        self._token_budget = token_budget
        self._max_wait = max_wait
        self._max_queue = max_queue
        self._tell = tell
        self._jobs: deque[_Job] = deque()
        self._waiting = 0  # pieces
        self._expected = 0  # requests
        self._begun = begun
        self._alone = alone or nullcontext()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pieces in the queue."""
        return self._waiting

    @property
    def works(self) -> bool:
        """Whether what is submitted is computed, once this has begun."""
        return self._thread.is_alive()

    @property
    def begun(self) -> bool:
        """Whether what is submitted is computed at once."""
        return self._begun

    def begin(self) -> None:
        """Compute what waits, and what is submitted from now on."""
        with self._changed:
            self._begun = True
            self._changed.notify()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While a request is on its way: until it is submitted, at the end at the latest."""
        with self._changed:
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1
                self._changed.notify()

    def submit(self, pieces: Sequence[np.ndarray]) -> Future:
        """The values [P, ...] of P > 0 pieces, some time; what waits of a cancelled one is dropped.

        Raises:
            QueueFull: the pieces would make the queue too long.
            Closed: `close` was called.
        """
        if not pieces:
            raise ValueError("there must be a piece at least")
        job = _Job(pieces, time.monotonic())
        with self._changed:
            if self._closed:
                raise Closed
            if self._waiting + len(pieces) > self._max_queue:
                raise QueueFull
            self._jobs.append(job)
            self._waiting += len(pieces)
            self._changed.notify()
        job.future.add_done_callback(lambda future: self._drop(job) if future.cancelled() else None)
        return job.future

    def close(self) -> None:
        """Compute what is in the queue, take nothing more, and end the thread.

        If nothing was to be computed yet, what is in the queue is told so by `Closed`.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for job in tuple(self._jobs):
            self._fail(job, Closed())

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._waiting -= job.waiting

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._compute(batch)
            except Exception as error:  # whatever it is, those who wait are told, and others served
                for job in dict.fromkeys(job for job, _ in batch):
                    self._fail(job, error)

    def _fail(self, job: _Job, error: Exception) -> None:
        self._drop(job)
        if not job.future.done() and job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)

    def _compute(self, batch: list[tuple[_Job, int]]) -> None:
        token_ids = [job.pieces[i] for job, i in batch]
        with self._alone:
            began = time.perf_counter()
            values = self._run(token_ids)
            seconds = time.perf_counter() - began
        for (job, i), value in zip(batch, values, strict=True):
            job.values[i] = value
            if len(job.values) == len(job.pieces):
                _finish(job)
        self._tell(Batch(len(batch), sum(map(len, token_ids)), seconds))

    def _next_batch(self) -> list[tuple[_Job, int]]:
        """Pieces to compute now, waiting for the first; none once the queue is closed and empty."""
        with self._changed:
            while True:
                while not (self._jobs and self._begun) and not self._closed:
                    self._changed.wait()
                if not self._begun:
                    return []
                self._wait_for_more()
                if batch := self._take():
                    return batch
                if self._closed:
                    return []

    def _wait_for_more(self) -> None:
        while self._jobs and self._expected and not self._closed:
            left = min(job.arrived for job in self._jobs) + self._max_wait - time.monotonic()
            if left <= 0 or self._is_enough():
                return
            self._changed.wait(left)

    def _is_enough(self) -> bool:
        tokens = 0
        for job in self._jobs:
            for piece in job.pieces[job.taken :]:
                tokens += len(piece)
                if tokens >= self._token_budget:
                    return True
        return False

    def _take(self) -> list[tuple[_Job, int]]:
        batch: list[tuple[_Job, int]] = []
        tokens = 0
        while self._jobs:
            job = self._jobs[0]
            length = len(job.pieces[job.taken])
            if batch and tokens + length > self._token_budget:
                break
            batch.append((job, job.taken))
            tokens += length
            job.taken += 1
            self._waiting -= 1
            self._jobs.popleft()
            if job.waiting:
                self._jobs.append(job)
        return batch


def _finish(job: _Job) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_result(np.stack([job.values[i] for i in range(len(job.pieces))]))
