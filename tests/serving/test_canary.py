import asyncio

import httpx
import pytest

from bertjax.serving.canary import Canary

IDS = ("a", "b")


def app_of(name: str):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode()})

    return app


def answers(canary: Canary, method: str, count: int, **headers: str) -> list[str]:
    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app=canary)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            asked = [await client.request(method, "/", headers=headers) for _ in range(count)]
            return [answer.text for answer in asked]

    return asyncio.run(ask())


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0), (0.25, 70, 130), (1, 400, 400)])
def test_the_other_app_gets_its_share_of_the_requests(share, low, high):
    canary = Canary(app_of("one"), app_of("other"), share, lambda: True, IDS, seed=0)
    assert low <= answers(canary, "POST", 400).count("other") <= high


def test_pages_and_health_are_those_of_the_first():
    canary = Canary(app_of("one"), app_of("other"), 1, lambda: True, IDS)
    assert answers(canary, "GET", 5) == ["one"] * 5


def test_the_other_gets_none_before_it_answers():
    canary = Canary(app_of("one"), app_of("other"), 1, lambda: False, IDS)
    assert answers(canary, "POST", 5) == ["one"] * 5


def test_a_request_may_name_its_model():
    canary = Canary(app_of("one"), app_of("other"), 0.5, lambda: True, IDS, seed=0)
    assert answers(canary, "POST", 9, **{"X-Model": "a"}) == ["one"] * 9
    assert answers(canary, "POST", 9, **{"X-Model": "b"}) == ["other"] * 9
    for unknown in ("c", ""):
        assert set(answers(canary, "POST", 20, **{"X-Model": unknown})) == {"one", "other"}
    assert answers(canary, "GET", 2, **{"X-Model": "b"}) == ["one"] * 2
    canary.ready = lambda: False
    assert answers(canary, "POST", 2, **{"X-Model": "b"}) == ["one"] * 2
