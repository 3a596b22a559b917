import asyncio
import sys

import pytest
from aiohttp import web

from benchmarks import serving
from benchmarks.children.http_load import body_of, label_of, load
from benchmarks.processes import ProgramError
from benchmarks.servers import Program, started
from benchmarks.serving import latency_rows, throughput_rows


def test_a_mistake_is_one_line(tmp_path, capsys):
    plain = tmp_path / "infinity_emb"
    plain.touch()  # and nobody may execute it
    for path in (tmp_path, plain):
        assert serving.main(["--infinity", str(path)]) == 2
        told = f"benchmarks.serving: --infinity {path} is no program: name infinity_emb in the bin"
        assert capsys.readouterr().err == f"{told} of its venv\n"
    with pytest.raises(SystemExit):
        serving.main(["--precision", "fp16"])


def test_a_server_that_ends_is_told_by_its_last_error():
    broken = [sys.executable, "-c", "raise ValueError('no model')"]
    program = Program("broken", "float32", lambda port: broken, "/ready", "/predict", "torch")
    with pytest.raises(ProgramError) as told, started(program, 1):
        pass
    assert told.value.line == "the server of broken did not become ready: ValueError: no model"


def latency(side, p50, p99):
    return {"side": side, "p50_s": p50, "p99_s": p99}


def test_latencies_are_medians_beside_the_bare_forward():
    records = [
        latency("bare forward", 0.010, 0.020),
        latency("bertjax", 0.012, 0.030),
        latency("bare forward", 0.030, 0.090),
        latency("bertjax", 0.013, 0.031),
        latency("bare forward", 0.009, 0.015),
        latency("bertjax", 0.090, 0.099),
    ]
    assert latency_rows(records) == [
        ["bare forward", "10.00 ms", "20.00 ms", "1.00"],
        ["bertjax", "13.00 ms", "31.00 ms", "1.30"],
    ]


def throughput(side, rate, failed, labels):
    return {
        "side": side,
        "requests_s": rate,
        "p50_s": 0.1,
        "p99_s": 0.2,
        "failed": failed,
        "labels": labels,
    }


def test_rates_are_medians_and_failures_of_all_runs_are_counted():
    records = [
        throughput("bertjax", 200.0, 0, ["a", "b"]),
        throughput("other", 50.0, 1, ["a", "a"]),
        throughput("bertjax", 300.0, 0, ["a", "b"]),
        throughput("other", 100.0, 2, ["a", "b"]),
    ]
    assert throughput_rows(records) == [
        ["bertjax", "250", "1.00", "100 ms", "200 ms", "0", "100.0%"],
        ["other", "75", "3.33", "100 ms", "200 ms", "3", "50.0%"],
    ]


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("bertjax", {"predictions": [{"label": "b"}]}),
        ("torch", {"prediction": "b"}),
        ("infinity", {"data": [[{"label": "a", "score": 0.2}, {"label": "b", "score": 0.8}]]}),
    ],
)
def test_each_server_is_asked_and_understood_in_its_form(form, answer):
    assert "a text" in str(body_of(form, "a text"))
    assert label_of(form, answer) == "b"


def test_load_sends_every_text_and_counts_what_fails(answered_by):
    seen: list[str] = []

    async def predict(request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        seen.append(text)
        if text == "bad":
            return web.Response(text="not a JSON", status=503)
        return web.json_response({"prediction": text.upper()})

    async def measure():
        async with answered_by(predict) as url:
            settings = {"texts": ["a", "bad", "c"], "form": "torch", "connections": 2}
            return await load(settings | {"url": url, "warm_up": 3, "requests": 6})

    found = asyncio.run(measure())
    assert sorted(seen) == ["a"] * 3 + ["bad"] * 3 + ["c"] * 3
    assert found["labels"] == ["A", None, "C"]
    assert found["failed"] == 3
    assert found["requests_s"] > 0
    assert 0 < found["p50_s"] <= found["p99_s"]


def test_failures_are_no_fast_answers(answered_by):
    async def predict(request: web.Request) -> web.Response:
        return web.Response(status=503)

    async def measure():
        async with answered_by(predict) as url:
            settings = {"texts": ["a"], "form": "torch", "connections": 1, "url": url}
            return await load(settings | {"warm_up": 1, "requests": 2})

    with pytest.raises(RuntimeError, match="answered none of 2 requests"):
        asyncio.run(measure())
