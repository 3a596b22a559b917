"""How a child times calls."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def time_calls(
    call: Callable[[], Any], repeats: int, warm_up: int = 2
) -> tuple[float, list[float]]:
    """Seconds of the first call, which compiles, and of each of `repeats` after the warm-up."""
    seconds = []
    for _ in range(1 + warm_up + repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1 + warm_up :]


def time_steps(
    step: Callable[[], Any],
    wait: Callable[[Any], Any],
    repeats: int,
    together: int,
    lock: str | None = None,
) -> list[float]:
    """Seconds of each of `repeats` steps, of a device that may run behind the program.

    Each is the mean of so many steps together, since a training does not wait for its steps one by
    one either. The first steps, which compile and warm up, were the caller's.
    """

    def several() -> float:
        began = time.perf_counter()
        for _ in range(together):
            result = step()
        wait(result)
        return (time.perf_counter() - began) / together

    with timing(lock):
        several()
    seconds = []
    for _ in range(repeats):
        with timing(lock):
            seconds.append(several())
    return seconds


@contextmanager
def preparing(lock: str | None) -> Iterator[None]:
    """Where several children compile at the same time: none is timed meanwhile."""
    with _held(lock, fcntl.LOCK_SH):
        yield


@contextmanager
def timing(lock: str | None) -> Iterator[None]:
    """No other child is timed, or prepares, meanwhile."""
    with _held(lock, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(lock: str | None, how: int) -> Iterator[None]:
    if lock is None:
        yield
        return
    with open(lock, "w") as file:
        fcntl.flock(file, how)
        yield
