"""The progress bar of a training: loss, tokens a second, time left."""

import sys
import time
from collections.abc import Sequence
from typing import Protocol

from tqdm import tqdm


class Listener(Protocol):
    """What the loop tells of a training."""

    def start(self, done: int, total: int) -> None:
        """Of all steps of the run, so many are done already."""
        ...

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        """A step of so many real tokens is done.

        Args:
            seen: the figures (loss, grad_norm) of the steps since the last look at the device, of
                which this step is the last; empty between two looks.
        """
        ...

    def epoch(self, record: dict[str, float]) -> None:
        """The figures of an epoch."""
        ...


class Listeners:
    """Several listeners, told one after the other."""

    def __init__(self, *listeners: Listener):
        self._listeners = listeners

    def start(self, done: int, total: int) -> None:
        for listener in self._listeners:
            listener.start(done, total)

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        for listener in self._listeners:
            listener.step(tokens, seen)

    def epoch(self, record: dict[str, float]) -> None:
        for listener in self._listeners:
            listener.epoch(record)


class Progress:
    """A bar on standard error that counts steps; a line an epoch stays above it."""

    def __init__(self):
        self._bar: tqdm | None = None
        self._tokens = 0
        self._since = 0.0

    def start(self, done: int, total: int) -> None:
        """Show the bar, with the steps that a resumed run has done already."""
        self.close()
        self._tokens, self._since = 0, 0.0
        self._bar = tqdm(total=total, initial=done, desc="training", unit="step")

    def step(self, tokens: int, seen: Sequence[dict[str, float]]) -> None:
        """Count a step of so many real tokens, and show its loss where it is known."""
        assert self._bar is not None
        if not self._since:  # the first step compiles, so the rate begins after it
            self._since = time.perf_counter()
        else:
            self._tokens += tokens
        if seen:
            seconds = time.perf_counter() - self._since
            rate = self._tokens / seconds if seconds else 0.0
            loss = f"loss {seen[-1]['loss']:.3f}"
            self._bar.set_postfix_str(f"{loss}, {rate:,.0f} tokens/s", refresh=False)
        self._bar.update()

    def epoch(self, record: dict[str, float]) -> None:
        """A line with the figures of an epoch."""
        assert self._bar is not None
        figures = ", ".join(f"{k} {v:.4f}" for k, v in record.items() if k != "epoch")
        # Beside the bar, so that standard output holds results alone.
        self._bar.write(f"epoch {record['epoch']:.0f}: {figures}", file=sys.stderr)
        if self._since:  # its scores took time, so the rate is that of the steps after it
            self._tokens, self._since = 0, time.perf_counter()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
