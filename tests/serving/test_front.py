"""What every request passes first, around apps that do odd things."""

import asyncio
import json
from typing import Any

import pytest

from bertjax.serving.front import Front
from bertjax.serving.metrics import Metrics

TIMEOUT = 20  # seconds, of what should take none


class Asked:
    """A front around an app, and what is sent by requests of it."""

    def __init__(self, app: Any, max_body_bytes: int = 100):
        self.metrics = Metrics().of("the-model")
        self.front = Front(app, self.metrics, None, max_body_bytes, frozenset({"/predict"}))

    async def post(self, *chunks: bytes) -> list[Any]:
        """The messages that a request with such a body is answered by."""
        left = list(chunks)
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await self.front(scope, receive, send)
        return sent

    @property
    def counts(self) -> str:
        return self.metrics.page().decode()


def test_a_request_that_is_cancelled_is_counted_as_one_whose_client_has_left(caplog):
    async def app(*_: Any) -> None:
        raise asyncio.CancelledError

    asked = Asked(app)
    with caplog.at_level("INFO", "bertjax.serving"), pytest.raises(asyncio.CancelledError):
        asyncio.run(asked.post(b""))
    of = 'model="the-model"'
    counted = f'bertjax_requests_total{{method="POST",{of},path="/predict",status="499"}} 1.0'
    assert counted in asked.counts
    assert f'bertjax_errors_total{{code="gone",{of}}} 1.0' in asked.counts
    (record,) = [r for r in caplog.records if r.message == "request"]
    assert record.status == 499


def test_an_answer_that_is_cut_off_keeps_the_status_that_it_began_with():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    asked = Asked(app)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asked.post(b""))
    assert 'path="/predict",status="200"} 1.0' in asked.counts
    assert "gone" not in asked.counts


def test_bodies_in_hand_are_bounded_together_and_give_their_room_back():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        others = [asyncio.create_task(asked.post(b"x" * 6, b"x" * 4)) for _ in range(64)]
        await asyncio.sleep(0)  # all of these have arrived
        refused, body = await asked.post(b"x")
        assert refused["status"] == 503
        headers = dict(refused["headers"])
        assert (headers[b"retry-after"], headers[b"connection"]) == (b"1", b"close")
        assert json.loads(body["body"])["error"]["code"] == "overloaded"
        go.set()
        assert (await asked.post(b""))[0]["status"] == 200  # without a body it needs no room
        assert [(await other)[0]["status"] for other in others] == [200] * 64
        assert (await asked.post(b"x" * 10))[0]["status"] == 200

    go = asyncio.Event()
    asked = Asked(app, max_body_bytes=10)
    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def test_a_body_that_is_refused_gives_its_room_back():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def run() -> None:
        for _ in range(99):
            (refused, _) = await asked.post(b"x" * 11)
            assert refused["status"] == 413
        assert await asked.post(b"x" * 10) == []  # the app has it, and says nothing

    asked = Asked(app, max_body_bytes=10)
    asyncio.run(run())
