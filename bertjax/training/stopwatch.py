"""Seconds that add up over the stretches of a training."""

import time


class Stopwatch:
    """Runs within `with`; `seconds` is the sum so far."""

    def __init__(self):
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds += time.perf_counter() - self._since
