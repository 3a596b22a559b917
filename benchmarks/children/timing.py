"""How a child times calls."""

import time
from collections.abc import Callable
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
