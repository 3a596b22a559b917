"""What the driver hands to the workers, and what they tell it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertjax.checkpoints.run_file import RunFile
from bertjax.data.packing import Needs
from bertjax.data.shards import Shard
from bertjax.workflows.configs import FinetuneConfig

if TYPE_CHECKING:
    from ray.util.queue import Queue


@dataclass(frozen=True)
class Job:
    """A fine-tuning whose rows lie in shards."""

    config: FinetuneConfig
    classes: tuple[str, ...]
    vocabulary: np.ndarray  # token ids that the shards' ids stand for [U], ascending
    train: list[Shard]
    validation: list[Shard]
    test: list[Shard]
    class_counts: np.ndarray  # rows to train on of each class [C]
    tokens: int  # to train on, an epoch
    needs: Needs  # of the steps, with the row lengths for every kind of worker
    longest: int  # tokens of the longest text, of those to train on
    held_out_lengths: np.ndarray  # of the rows to score, or of a sample of them
    run: RunFile  # all but training and scores


class Message(NamedTuple):
    """A call of a method of the driver's listener."""

    method: str
    arguments: tuple


class Teller:
    """A listener of the loop that tells another one, in the driver's process.

    Steps are told when their figures are known, several at once.

    Args:
        tokens: of a step, on average over an epoch; a process sees those of its share alone.
    """

    def __init__(self, queue: "Queue", tokens: int):
        self._queue = queue
        self._tokens = tokens
        self._untold: list[Message] = []
        self._first = True

    def say(self, line: str) -> None:
        self._tell("say", line)

    def start(self, done: int, total: int) -> None:
        self._tell("start", done, total)

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        self._untold.append(Message("step", (self._tokens, seen)))
        if seen or self._first:  # rates are measured from the first on
            self._send()
        self._first = False

    def epoch(self, record: dict[str, float]) -> None:
        self._tell("epoch", record)

    def _tell(self, method: str, *arguments: Any) -> None:
        self._untold.append(Message(method, arguments))
        self._send()

    def _send(self) -> None:
        self._queue.put(self._untold)
        self._untold = []


def deliver(queue: "Queue", listener: Any, ended: Callable[[], bool]) -> None:
    """Call the listener's methods as a Teller was called, until the training has ended."""
    from ray.util.queue import Empty

    while True:
        last = ended()  # asked first: what was told before the end is delivered
        try:
            for method, arguments in queue.get(timeout=0 if last else 0.2):
                getattr(listener, method)(*arguments)
        except Empty:
            if last:
                return
