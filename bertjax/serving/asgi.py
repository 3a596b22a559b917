"""What all ASGI layers of the server share: the types, a request's id, sending an error."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers

from bertjax.serving.errors import ApiError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "x-request-id"
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def request_id_of(scope: Scope) -> str:
    """The id that a request names, if it is one that a log can bear, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _ID.fullmatch(given) else uuid4().hex


async def send_error(error: ApiError, request_id: str, send: Send) -> None:
    """Answer with an error, in the one shape that all have."""
    body = json.dumps(error.body(request_id), separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        REQUEST_ID: request_id,
        **{name.lower(): value for name, value in (error.headers or {}).items()},
    }
    await send(
        {
            "type": "http.response.start",
            "status": error.status_code,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
