"""What Ray Serve's proxy answers by itself, in the shape of the server's errors."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from bertjax.cluster.proxy import middlewares


def ask(app: Any, path: str = "/predict", **headers: str | bytes) -> httpx.Response:
    (middleware,) = middlewares()
    layered = middleware.cls(app, *middleware.args, **middleware.kwargs)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=layered)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def answering(status: int, kind: str, body: bytes = b"of the proxy", **headers: str):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        given = Headers(scope=scope)["x-request-id"]
        found = {"content-type": kind, **headers}.items()
        pairs = [(name.encode(), value.encode()) for name, value in found]
        pairs += [(b"x-request-id", given.encode())] * 2  # the replica's, and Ray's
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    return app


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """What the proxy is where a replica ends: it begins no answer."""


def test_a_request_whose_replica_ends_is_to_be_sent_again():
    answer = ask(silent, **{"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers.get_list("x-request-id") == ["mine"]
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("replica_ended", "mine")


def test_a_request_that_no_replica_answers_in_time_is_told_of_the_time():
    answer = ask(answering(408, "text/plain"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "timeout"


@pytest.mark.parametrize("status", [404, 429, 503])
def test_what_the_proxy_refuses_by_itself_is_told_as_by_the_server(status):
    answer = ask(answering(status, "text/plain; charset=utf-8"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    error = answer.json()["error"]
    assert error["code"] == "no_replica"
    assert [error["request_id"]] == answer.headers.get_list("x-request-id")


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "text/plain"), (404, "application/json"), (200, "text/html")]
)
def test_what_a_replica_answers_stays_as_it_is(status, kind):
    answer = ask(answering(status, kind, b"whole", allow="GET"))
    assert (answer.status_code, answer.content) == (status, b"whole")
    assert answer.headers["content-type"] == kind
    assert answer.headers["allow"] == "GET"


def test_a_request_has_one_id_and_a_bad_one_is_replaced():
    answer = ask(answering(200, "application/json"), **{"x-request-id": "not an id"})
    (made,) = answer.headers.get_list("x-request-id")
    assert len(made) == 32


@pytest.mark.parametrize(
    "name",
    [
        "x-request-timeout-seconds",
        "X-Request-Disconnect-Disabled",
        "x_session_id",
        "x-session-id",
        "serve-multiplexed-model-id",
        "serve_multiplexed_model_id",
    ],
)
@pytest.mark.parametrize("value", [b"0.001", b"\xff"])
def test_a_client_has_no_say_in_what_the_proxy_does(name, value):
    seen: list[tuple[bytes, bytes]] = []
    answers = answering(200, "application/json")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await answers(scope, receive, send)

    answer = ask(app, **{name: value, "x-model": "kept"})
    assert answer.status_code == 200
    assert (b"x-model", b"kept") in seen
    assert name.lower().encode() not in dict(seen)


def test_a_failure_of_the_proxy_is_told_as_one_of_the_server(caplog):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the secret of the house")

    answer = ask(app, **{"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "request mine failed" in caplog.text


def test_an_answer_that_has_begun_when_the_proxy_fails_gets_no_second_head():
    answers = answering(200, "application/json")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answers(scope, receive, send)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        ask(app)


def test_rays_own_paths_stay_as_they_are():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"DRAINING"})

    assert ask(app, "/-/healthz").text == "DRAINING"
