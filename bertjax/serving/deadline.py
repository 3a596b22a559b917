"""One deadline for a request, from its head to its answer: its body, its wait and its work."""

import asyncio
from typing import Any

from bertjax.serving.asgi import App, Receive, Scope, Send
from bertjax.serving.errors import late_body, too_slow


class Deadline:
    """ASGI that cancels an app which has not begun to answer in time, and raises an ApiError.

    Args:
        app: whose answer, once it has begun, is sent to its end.
        seconds: from the head of a request to the beginning of its answer.
    """

    def __init__(self, app: App, seconds: float):
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = asyncio.timeout(self.seconds)
        arrived, arriving = False, False  # the whole body; whether more of it is waited for

        async def receive_body() -> Any:
            nonlocal arrived, arriving
            arriving = not arrived
            message = await receive()
            arrived, arriving = not message.get("more_body", False), False
            return message

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                limit.reschedule(None)
            await send(message)

        try:
            async with limit:
                await self.app(scope, receive_body, answer)
        except TimeoutError:
            if not limit.expired():  # it is the app's own
                raise
            raise (late_body() if arriving else too_slow(self.seconds)) from None
