"""How a child gets its settings, clocks its training and gives its result."""

import json
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

NO_ANSWER = "no answer"  # of a request that got no status either


def read_settings() -> dict[str, Any]:
    return json.loads(sys.argv[1])


def write_result(result: dict[str, Any]) -> None:
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


class Clock:
    """When a training began, had its first step behind it, and ended each epoch."""

    def __init__(self) -> None:
        self._began = 0.0
        self._first_step = 0.0
        self._epochs: list[float] = []

    def start(self) -> None:
        self._began = time.perf_counter()

    def step(self) -> None:
        self._first_step = self._first_step or time.perf_counter()

    def epoch(self) -> None:
        self._epochs.append(time.perf_counter())

    def figures(self) -> dict[str, float]:
        """Seconds until the first step returned, and of an epoch.

        The first epoch, which compiles or warms up, counts for an epoch only if it is the only one.
        """
        ends = [self._began, *self._epochs]
        seconds = [end - start for start, end in pairwise(ends)]
        return {
            "first_step_s": self._first_step - self._began,
            "epoch_s": statistics.median(seconds[1:] or seconds),
        }
