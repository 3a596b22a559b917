"""What every request passes first: an id, the token, a bound on bodies, a log line, counts."""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from bertjax.serving.asgi import REQUEST_ID, App, Receive, Scope, Send, request_id_of, send_error
from bertjax.serving.errors import CLOSE, ApiError, failed, gone, too_many_bodies
from bertjax.serving.metrics import ModelMetrics

OPEN = ("/", "/health", "/ready", "/docs", "/openapi.json")  # what needs no token
_ASSETS = "/static"  # of /docs
_BODIES = 64  # of the largest size, whose bytes may be in hand at once
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

log = logging.getLogger("bertjax.serving")


class Front:
    """ASGI around an app; its answer, or the error in its place, has a request id.

    Args:
        app: whose exceptions are answered by 500, and logged.
        metrics: that count the requests.
        token: that requests must bear; None: they need none.
        max_body_bytes: of a request; all that are not answered yet have 64 times as many.
        paths: of the app, to be counted by them; all others are one.
    """

    def __init__(
        self,
        app: App,
        metrics: ModelMetrics,
        token: str | None,
        max_body_bytes: int,
        paths: frozenset[str],
    ):
        self.app = app
        self.metrics = metrics
        self.token = token
        self.max_body_bytes = max_body_bytes
        self.paths = paths
        self._in_hand = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        self.metrics.begin()
        try:
            self._check_token(scope["path"], headers)
            length = headers.get("content-length", "0")
            self._check_size(int(length) if length.isdecimal() else 0)
            with self._bounded(receive) as bounded:
                await self.app(scope, bounded, send_with_id)
        except ApiError as error:
            self.metrics.error(error.code)
            await send_error(error, request_id, send_with_id)
        except asyncio.CancelledError:  # by Ray, whose client has left; or at the end of the server
            if not status:
                error = gone()
                status = error.status_code
                self.metrics.error(error.code)
            raise
        except Exception:
            log.exception("failed", extra={"request_id": request_id})
            if status:  # an answer has begun: its end must be missed, and not look like one
                raise
            error = failed()
            self.metrics.error(error.code)
            await send_error(error, request_id, send_with_id)
        finally:
            self._tell(scope, request_id, status, time.perf_counter() - began)

    def _check_token(self, path: str, headers: Headers) -> None:
        if self.token is None or path in OPEN or path.startswith(_ASSETS):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(
            given.strip().encode(), self.token.encode()
        ):
            raise ApiError(
                401,
                "unauthorized",
                "send the header Authorization: Bearer TOKEN with the server's token",
                {"WWW-Authenticate": "Bearer", **CLOSE},
            )

    def _check_size(self, size: int) -> None:
        if size > (most := self.max_body_bytes):
            raise ApiError(
                413, "too_large", f"send at most {most} bytes: fewer texts at once", CLOSE
            )

    @contextmanager
    def _bounded(self, receive: Receive) -> Iterator[Receive]:
        """`receive`, which refuses a body that is too large, and any while too many are in hand."""
        size = 0

        async def bounded() -> Any:
            nonlocal size
            message = await receive()
            length = len(message.get("body", b""))
            size += length
            self._in_hand += length
            self._check_size(size)
            if length and self._in_hand > _BODIES * self.max_body_bytes:
                raise too_many_bodies()
            return message

        try:
            yield bounded
        finally:
            self._in_hand -= size

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"  # a bounded set of labels
        method = scope["method"] if path != "other" and scope["method"] in _METHODS else "other"
        self.metrics.end(method, path, status, seconds)
        log.info(
            "request",
            extra={
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "seconds": round(seconds, 6),
                "client": scope["client"][0] if scope.get("client") else None,
            },
        )
