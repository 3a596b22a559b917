"""Two apps as one: a share of the requests tries out another model."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable], Awaitable[None]]


class Canary:
    """ASGI that hands a share of the POST requests to a second app.

    Args:
        app: for all else, too: the page, the docs, health.
        other: the app that is tried out. Its answers name its model.
        share: of the requests, from 0 to 1.
        ready: whether the other answers yet.
        seed: of which requests.
    """

    def __init__(
        self, app: App, other: App, share: float, ready: Callable[[], bool], seed: int | None = None
    ):
        self.app = app
        self.other = other
        self.share = share
        self.ready = ready
        self._random = random.Random(seed)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        asks = scope["type"] == "http" and scope["method"] == "POST"
        other = asks and self.ready() and self._random.random() < self.share
        await (self.other if other else self.app)(scope, receive, send)
