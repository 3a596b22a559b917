"""Two apps as one: a share of the requests tries out another model.

A request may name the model that it wants, as one that explains a prediction does.
"""

import random
from collections.abc import Callable

from bertjax.serving.asgi import App, Receive, Scope, Send

HEADER = b"x-model"  # the id of a model


class Canary:
    """ASGI that hands a share of the POST requests to a second app.

    Args:
        app: for all else, too: the page, the docs, health.
        other: the app that is tried out. Its answers name its model.
        share: of the requests, from 0 to 1.
        ready: whether the other answers yet.
        models: the ids of the two, by which requests may ask for one; any other id is none.
        seed: of which requests.
    """

    def __init__(
        self,
        app: App,
        other: App,
        share: float,
        ready: Callable[[], bool],
        models: tuple[str, str],
        seed: int | None = None,
    ):
        self.app = app
        self.other = other
        self.share = share
        self.ready = ready
        self.models = models
        self._random = random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] == "http" and scope["method"] == "POST"
        other = asks and self.ready() and self._is_other(dict(scope["headers"]))
        await (self.other if other else self.app)(scope, receive, send)

    def _is_other(self, headers: dict[bytes, bytes]) -> bool:
        wanted = headers.get(HEADER, b"").decode("latin-1")
        if wanted in self.models:
            return wanted == self.models[1]
        return self._random.random() < self.share
