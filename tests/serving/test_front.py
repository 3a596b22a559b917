"""What every request passes first, around apps that do odd things."""

import asyncio
from typing import Any

import pytest

from bertjax.serving.front import Front
from bertjax.serving.metrics import Metrics


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
