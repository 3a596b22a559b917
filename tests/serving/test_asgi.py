"""What all ASGI layers share: which ids of requests are taken, and the shape of an error."""

import asyncio
import json

import pytest

from bertjax.serving.asgi import request_id_of, send_error
from bertjax.serving.errors import late_body, overloaded


def id_of(*given: bytes) -> str:
    return request_id_of({"type": "http", "headers": [(b"x-request-id", value) for value in given]})


def test_an_id_that_a_log_can_bear_is_taken():
    assert id_of(b"mine-1.a_B") == "mine-1.a_B"


@pytest.mark.parametrize("given", [[], [b""], [b"a b"], [b"a\nb"], [b"\xff"], [b"a" * 65]])
def test_any_other_is_replaced_by_a_new_one(given):
    one, other = id_of(*given), id_of(*given)
    assert len(one) == len(other) == 32
    assert one != other


@pytest.mark.parametrize(
    ("error", "header"),
    [(overloaded(3), (b"retry-after", b"3")), (late_body(), (b"connection", b"close"))],
)
def test_an_error_is_json_with_its_id_and_headers(error, header):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(send_error(error, "mine", send))
    start, body = sent
    assert start["status"] == error.status_code
    assert {(b"x-request-id", b"mine"), (b"content-type", b"application/json"), header} <= {
        *start["headers"]
    }
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    assert json.loads(body["body"]) == error.body("mine")
