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
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def write_result(result: dict[str, Any]) -> None:
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


def jax_device() -> str:
    """What JAX calls the device that it computes on: `cpu`, `NVIDIA H100 80GB HBM3`, ..."""
    import jax

    return jax.devices()[0].device_kind


class Clock:
    """When a training began, and ended each epoch."""

    def __init__(self) -> None:
        self._began = 0.0
        self._epochs: list[float] = []

    def start(self) -> None:
        self._began = time.perf_counter()

    def epoch(self) -> None:
        self._epochs.append(time.perf_counter())

    def figures(self) -> dict[str, float]:
        """Seconds of an epoch.

        The first one, which compiles or warms up, counts for an epoch only if it is the only one.
        """
        ends = [self._began, *self._epochs]
        seconds = [end - start for start, end in pairwise(ends)]
        return {"epoch_s": statistics.median(seconds[1:] or seconds)}
