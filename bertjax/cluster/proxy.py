"""Ray Serve's HTTP proxy, with the errors and request ids that a server has without Ray.

Where no replica takes a request, or the one that did ends, the proxy answers by itself: in plain
text, or with a 500 that looks like a fault of the model's.
"""

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware

from bertjax.serving.asgi import REQUEST_ID, App, Receive, Scope, Send, request_id_of, send_error
from bertjax.serving.errors import ApiError, no_replica, replica_ended

_ABOUT_PROXY = "/-/"  # paths of Ray's own


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
        MutableHeaders(scope=scope)[REQUEST_ID] = request_id
        error: ApiError | None = replica_ended()  # unless an answer begins

        async def send_with_id(message: Any) -> None:
            MutableHeaders(scope=message)[REQUEST_ID] = request_id  # Ray adds one more
            await send(message)

        async def send_of_replica(message: Any) -> None:
            nonlocal error
            if message["type"] != "http.response.start":
                if error is None:
                    await send(message)
                return
            error = no_replica() if _is_rays_own(message) else None
            if error is None:
                await send_with_id(message)

        await self.app(scope, receive, send_of_replica)
        if error is not None:
            await send_error(error, request_id, send)


def _is_rays_own(start: Any) -> bool:
    """Whether the proxy answers by itself: the errors of a replica are JSON."""
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] >= 400 and kind.startswith("text/plain")
