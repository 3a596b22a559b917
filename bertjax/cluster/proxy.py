"""Ray Serve's HTTP proxy, with the errors and request ids that a server has without Ray.

Where no replica takes a request, or the one that did ends, the proxy answers by itself: in plain
text, or with a 500 that looks like a fault of the model's. And it obeys headers of clients: how
long it waits, whether it sees that they leave, which replica they get.
"""

import logging
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware

from bertjax.serving.asgi import REQUEST_ID, App, Receive, Scope, Send, request_id_of, send_error
from bertjax.serving.errors import ApiError, failed, late_replica, no_replica, replica_ended

_ABOUT_PROXY = "/-/"  # paths of Ray's own
_OBEYED = (  # by the proxy, which may also fail to read them
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"x-session-id",
    b"serve-multiplexed-model-id",
)

log = logging.getLogger("bertjax.serving")


def middlewares() -> list[Middleware]:
    """What Ray Serve puts around its proxy, which finds this function by its name."""
    return [Middleware(OneShape)]


class OneShape:
    """ASGI around a proxy; all its errors are JSON, and an answer has the replica's request id."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_ABOUT_PROXY):
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope["headers"] = [
            pair for pair in scope["headers"] if pair[0].replace(b"_", b"-") not in _OBEYED
        ]
        MutableHeaders(scope=scope)[REQUEST_ID] = request_id
        error: ApiError | None = replica_ended()  # unless an answer begins

        async def send_of_replica(message: Any) -> None:
            nonlocal error
            if message["type"] == "http.response.start":
                error = _error_of_ray(message)
                MutableHeaders(scope=message)[REQUEST_ID] = request_id  # Ray adds one more
            if error is None:
                await send(message)

        try:
            await self.app(scope, receive, send_of_replica)
        except Exception:
            log.exception("request %s failed", request_id)
            if error is None:  # an answer has begun: its end must be missed
                raise
            error = failed()
        if error is not None:
            await send_error(error, request_id, send)


def _error_of_ray(start: Any) -> ApiError | None:
    """What to tell where the proxy answers by itself: the errors of a replica are JSON."""
    kind = Headers(raw=start["headers"]).get("content-type", "")
    if start["status"] < 400 or not kind.startswith("text/plain"):
        return None
    return late_replica() if start["status"] == 408 else no_replica()
