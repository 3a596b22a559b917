import asyncio
import subprocess
import sys

import psutil
import pytest
from aiohttp import web

from benchmarks.children.http_soak import NO_ANSWER, Soak, title
from benchmarks.soak import answer_rows, failures, memory_by_part, memory_rows

TEXTS = ["good", "wrong", "swapped", "busy", "cut"]


async def predict(request: web.Request) -> web.Response:
    """Right of the first text alone."""
    text = (await request.json())["text"]
    if text == "busy":
        return web.Response(text="not a JSON", status=503)
    if text == "cut":
        assert request.transport is not None
        request.transport.close()
    probabilities = {"a": 0.5, "b": 0.5} if text == "wrong" else {"a": 0.25, "b": 0.75}
    label = "a" if text == "swapped" else "b"
    return web.json_response({"predictions": [{"label": label, "probabilities": probabilities}]})


@pytest.fixture
def server_process():
    """A process whose child is called as a replica is, and starts another one when it has ended."""
    program = (
        "import subprocess\n"
        "for _ in range(2):\n"
        "    child = subprocess.Popen(['ray::ServeReplica:x', '60'], executable='/bin/sleep')\n"
        "    print('started', flush=True)\n"
        "    child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    yield process
    for one in (*psutil.Process(process.pid).children(), process):
        one.kill()
    process.wait()
    process.stdout.close()


def soak(url: str, pid: int) -> Soak:
    return Soak(
        {
            "url": url,
            "pid": pid,
            "texts": TEXTS,
            "expected": [[0.25, 0.75 + 1e-7]] * len(TEXTS),
            "tolerance": 1e-5,
            "requests": 50,
            "connections": 3,
        }
    )


def test_every_request_has_one_outcome_and_wrong_answers_are_found(server_process, answered_by):
    watched = psutil.Process(server_process.pid)
    [before] = watched.children()

    async def run() -> dict:
        async with answered_by(predict) as url:
            return await soak(url, server_process.pid).run()

    found = asyncio.run(run())
    assert found["outcomes"] == {"200": 30, "503": 10, NO_ANSWER: 10}
    assert found["wrong"] == 20
    assert found["largest_difference"] == pytest.approx(0.25, abs=1e-6)
    assert 0 < found["replaced_s"] < 60
    assert not before.is_running()
    [after] = watched.children()
    count, own = found["samples"][0]
    assert count == 0
    assert all(size > 0 for size in own.values())
    assert any(name.startswith("ray::ServeReplica") for name in own)
    assert after.pid != before.pid


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["ray::ServeReplica:bertjax:Replica"], "ray::ServeReplica:bertjax:Replica"),
        (["ray::ServeReplica:bertjax:Replica.handle"], "ray::ServeReplica:bertjax:Replica"),
        (["/usr/bin/python3", "-u", "/opt/ray/agent.py", "--port=1"], "agent.py"),
        (["/usr/bin/python3"], "python3"),
        (["/opt/ray/gcs_server", "--port=1"], "gcs_server"),
    ],
)
def test_a_process_is_named_by_its_program(command, expected):
    assert title(command) == expected


def test_memory_is_compared_between_parts_of_a_life():
    samples = [(count, {"old": 100 + count, "brief": 7}) for count in range(5)]
    samples += [(count, {"old": 100 + count, "new": 200}) for count in range(5, 101)]
    found = memory_by_part(samples, 100)
    assert found == {
        "old": [104.5, 114.5, 124.5, 134.5, 144.5, 154.5, 164.5, 174.5, 184.5, 195],
        "new": [200] * 10,
    }
    assert memory_rows({"old": [90e6, 100e6, 104e6], "new": [1e6, 2e6, 2e6]}) == [
        ["old", "100 MB", "104 MB", "+4.0%"],
        ["new", "2 MB", "2 MB", "+0.0%"],
    ]


def test_answers_are_told_by_status():
    record = {
        "outcomes": {"500": 2, "200": 1000},
        "wrong": 0,
        "largest_difference": 1.25e-7,
        "requests_s": 99.6,
        "replaced_s": None,
    }
    assert answer_rows(record) == [
        ["answered by 200", "1,000"],
        ["answered by 500", "2"],
        ["wrong", "0"],
        ["largest difference from Predictor", "1.2e-07"],
        ["requests/s", "100"],
        ["the killed replica's successor", "none"],
    ]


REPLICA = "ray::ServeReplica:bertjax:Replica 7"


@pytest.mark.parametrize(
    ("outcomes", "wrong", "memory", "expected"),
    [
        ({"200": 988, "500": 12}, 0, {"raylet 1": [29, 29, 31], REPLICA: [9, 100, 105]}, []),
        ({"200": 1000}, 2, {}, ["2 wrong answers"]),
        ({"200": 997, NO_ANSWER: 3}, 0, {}, ["3 requests without an answer"]),
        ({"200": 900, "500": 60, "503": 5}, 0, {}, ["65 errors, more than the killed replica had"]),
        (
            {"200": 1000},
            0,
            {REPLICA: [9, 100, 106], "bertjax 1": [100]},
            [f"{REPLICA} grew by 6.0%"],
        ),
        ({"200": 1000}, 0, {"bertjax 1": [9, 50, 60]}, ["bertjax 1 grew by 20.0%"]),
    ],
)
def test_what_must_not_be_is_a_failure(outcomes, wrong, memory, expected):
    found = failures({"outcomes": outcomes, "wrong": wrong, "connections": 64}, memory)
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))
