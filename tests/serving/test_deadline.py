"""A request's one deadline, by a clock that goes as fast as the loop has nothing to do."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bertjax.serving.deadline import Deadline
from bertjax.serving.errors import ApiError

SECONDS = 1.0


class Clock(asyncio.SelectorEventLoop):
    """A loop that does not wait for a time to come, but makes it come."""

    def __init__(self):
        self.now = 0.0
        super().__init__(Idle(self))

    def time(self) -> float:
        return self.now


class Idle(selectors.SelectSelector):
    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> list:
        assert timeout is not None, "the loop would wait for ever"
        self.clock.now += timeout
        return super().select(0)


def ask(app: Callable[..., Awaitable[None]], *chunks: float) -> tuple[Any, float]:
    """What an app answers to a body whose chunks come after so many seconds each; and when.

    The error, or the messages that were sent.
    """
    left = list(chunks)
    sent: list[str] = []

    async def receive() -> Any:
        if not left:  # the client stays
            await asyncio.sleep(3600)
        await asyncio.sleep(left.pop(0))
        return {"type": "http.request", "body": b"x", "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def run() -> Any:
        try:
            await Deadline(app, SECONDS)({"type": "http"}, receive, send)
        except ApiError as error:
            return error.status_code, error.code
        return sent

    with asyncio.Runner(loop_factory=Clock) as runner:
        found = runner.run(run())
        return found, runner.get_loop().time()


def app_of(work: float, answer: float = 0.0):
    """An app that reads a body, works on it, and sends an answer, for so many seconds."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await asyncio.sleep(work)
        await send({"type": "http.response.start"})
        await asyncio.sleep(answer)
        await send({"type": "http.response.body"})

    return app


ANSWER = ["http.response.start", "http.response.body"]


@pytest.mark.parametrize(
    ("chunks", "work", "found", "at"),
    [
        ([0.2, 0.2], 0.5, ANSWER, 0.9),
        ([0.6], 0.6, (503, "timeout"), 1.0),  # each alone would have had the time
        ([0.4, 0.4], 0.4, (503, "timeout"), 1.0),
        ([0.4, 0.4, 0.4], 0.0, (408, "timeout"), 1.0),
        ([3600], 0.0, (408, "timeout"), 1.0),
    ],
)
def test_body_and_answer_share_one_deadline(chunks, work, found, at):
    assert ask(app_of(work), *chunks) == (found, pytest.approx(at))


def test_an_answer_that_has_begun_is_sent_to_its_end():
    assert ask(app_of(0.9, answer=5.0), 0.0) == (ANSWER, pytest.approx(5.9))


def test_what_is_asked_without_a_body_is_late_for_its_answer():
    async def app(*_: Any) -> None:
        await asyncio.sleep(2)

    assert ask(app) == ((503, "timeout"), pytest.approx(1.0))


def test_waiting_for_a_client_to_leave_is_no_waiting_for_its_body():
    async def app(_: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await receive()

    assert ask(app, 0.1) == ((503, "timeout"), pytest.approx(1.0))


def test_a_timeout_of_the_app_itself_is_a_failure():
    async def app(*_: Any) -> None:
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="of something else"):
        ask(app)
