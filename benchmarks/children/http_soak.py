"""Ask a server for long, hold each answer against the right one, and kill a replica in the middle.

Meanwhile the memory of all processes of the server is looked at.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import psutil

from benchmarks.children.http_load import TIMEOUT
from benchmarks.children.result import NO_ANSWER, read_settings, write_result

_LOOK = 2.0  # seconds between looks at memory
_REPLICA = "ray::ServeReplica"
_PATIENCE = 300  # seconds that a replacement may take


class Soak:
    """Requests, each with one outcome: a status, or that there was no answer."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.outcomes: Counter[str] = Counter()
        self.wrong = 0
        self.largest_difference = 0.0
        self.samples: list[tuple[int, dict[str, int]]] = []
        self.replaced_s: float | None = None
        self._server = psutil.Process(settings["pid"])
        self._numbers = iter(range(settings["requests"]))

    async def run(self) -> dict[str, Any]:
        settings = self.settings
        began = time.perf_counter()
        connector = aiohttp.TCPConnector(limit=settings["connections"])
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            watching = asyncio.create_task(self._watch())
            killing = asyncio.create_task(self._kill_in_the_middle())
            clients = (self._ask(session) for _ in range(settings["connections"]))
            await asyncio.gather(*clients)
            wall = time.perf_counter() - began
            await killing
            watching.cancel()
        return {
            "requests_s": settings["requests"] / wall,
            "outcomes": dict(self.outcomes),
            "wrong": self.wrong,
            "largest_difference": self.largest_difference,
            "replaced_s": self.replaced_s,
            "samples": self.samples,
        }

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        texts = self.settings["texts"]
        for number in self._numbers:
            body = {"text": texts[number % len(texts)]}
            try:
                async with session.post(self.settings["url"], json=body) as answer:
                    # Of a replica that was lost, Ray tells by a status and plain text.
                    found = await answer.json() if answer.status == 200 else None
            except (aiohttp.ClientError, TimeoutError):
                self.outcomes[NO_ANSWER] += 1
                continue
            self.outcomes[str(answer.status)] += 1
            if found is not None:
                self._compare(found["predictions"][0], number % len(texts))

    def _compare(self, prediction: dict[str, Any], number: int) -> None:
        probabilities = prediction["probabilities"]
        right = self.settings["expected"][number]
        difference = max(abs(a - b) for a, b in zip(probabilities.values(), right, strict=True))
        self.largest_difference = max(self.largest_difference, difference)
        most_probable = max(probabilities, key=probabilities.__getitem__)
        if difference > self.settings["tolerance"] or prediction["label"] != most_probable:
            self.wrong += 1

    async def _watch(self) -> None:
        while True:
            own = {}
            for process in (self._server, *self._server.children(recursive=True)):
                with suppress(psutil.Error):  # it has ended
                    own[f"{title(process.cmdline())} {process.pid}"] = (
                        process.memory_full_info().uss
                    )
            self.samples.append((self.outcomes.total(), own))
            await asyncio.sleep(_LOOK)

    async def _kill_in_the_middle(self) -> None:
        while self.outcomes.total() < self.settings["requests"] // 2:
            await asyncio.sleep(0.05)
        before = self._replicas()
        min(before, key=lambda process: process.pid).kill()
        killed = time.perf_counter()
        while time.perf_counter() < killed + _PATIENCE:
            if self._replicas() - before:
                self.replaced_s = time.perf_counter() - killed
                return
            await asyncio.sleep(0.1)

    def _replicas(self) -> set[psutil.Process]:
        found = set()
        for process in self._server.children(recursive=True):
            with suppress(psutil.Error):  # it has ended
                if process.cmdline()[0].startswith(_REPLICA):
                    found.add(process)
        return found


def title(command: Sequence[str]) -> str:
    """The program of a command: of Python, the script or module that it runs.

    A process of Ray adds what it is doing at the time, after a full stop.
    """
    words = list(command)
    if words[0].startswith("ray::"):
        return words[0].partition(".")[0]
    if "python" in words[0]:
        words = [word for word in words[1:] if not word.startswith("-")] or words
    return words[0].rpartition("/")[2]


def main() -> None:
    write_result(asyncio.run(Soak(read_settings()).run()))


if __name__ == "__main__":
    main()
