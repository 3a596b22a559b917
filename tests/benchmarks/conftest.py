"""A server for what sends requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture
def answered_by() -> Callable[[Handler], AbstractAsyncContextManager[str]]:
    """A function that answers POST -> its url, while it is served."""

    @asynccontextmanager
    async def serve(handler: Handler) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/predict", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}/predict"
        finally:
            await runner.cleanup()

    return serve
