"""A real server that has much to do, or little time."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest

from bertjax.serving import api
from bertjax.serving.predictor import Predictor

TEXT = "the cat of the bank"
TEXTS = ["the cat of the bank", "rain", "snow and tax " * 5, "dog bank", "été"]
TIMEOUT = 60  # seconds, of what should take none


class Held:
    """A function that does not end before it is let go."""

    def __init__(self, service, monkeypatch):
        self.go, self.entered = threading.Event(), threading.Semaphore(0)
        run = service._classifier._run

        def held(pieces):
            self.entered.release()
            assert self.go.wait(TIMEOUT)
            return run(pieces)

        monkeypatch.setattr(service._classifier, "_run", held)


@pytest.fixture
def held(server, monkeypatch):
    held = Held(server.service, monkeypatch)
    yield held
    held.go.set()


def test_a_full_queue_is_answered_at_once(start_server, predictor, error_of, until, monkeypatch):
    with start_server(predictor, max_queue=3, max_texts=3) as server, ThreadPoolExecutor(2) as pool:
        held = Held(server.service, monkeypatch)
        first = pool.submit(server.post, "/predict", {"text": TEXT})
        assert held.entered.acquire(timeout=TIMEOUT)
        second = pool.submit(server.post, "/predict", {"texts": TEXTS[:3]})
        until(lambda: server.service._classifier.waiting == 3)
        answer = server.post("/predict", {"text": TEXT})
        assert (answer.status_code, error_of(answer)["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        assert 'bertjax_queue_texts{model="the-model"} 3.0' in server.client.get("/metrics").text
        held.go.set()
        assert first.result(TIMEOUT).status_code == second.result(TIMEOUT).status_code == 200


def test_what_takes_too_long_is_given_up(start_server, predictor, error_of, monkeypatch):
    with start_server(predictor, timeout=0.3) as server:
        held = Held(server.service, monkeypatch)
        answer = server.post("/predict", {"text": TEXT})
        assert (answer.status_code, error_of(answer)["code"]) == (503, "timeout")
        held.go.set()


def test_scoring_is_given_up_as_all_work_is(start_server, predictor, error_of, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(api, "classification_scores", lambda *_: go.wait(TIMEOUT))
    with start_server(predictor, timeout=0.3) as server:
        rows = [{"text": TEXT, "label": "money"}]
        try:
            answer = server.post("/evaluate", {"rows": rows}, timeout=TIMEOUT / 2)
            assert server.client.get("/health").status_code == 200
        finally:
            go.set()
        assert (answer.status_code, error_of(answer)["code"]) == (503, "timeout")


def test_a_client_that_leaves_is_counted(start_server, predictor, until, monkeypatch):
    with start_server(predictor) as server:
        held = Held(server.service, monkeypatch)

        def lines() -> list[str]:
            return server.client.get("/metrics").text.splitlines()

        with pytest.raises(httpx.ReadTimeout):
            server.post("/predict", {"text": TEXT}, timeout=0.3)
        of = 'model="the-model"'
        left = f'bertjax_requests_total{{method="POST",{of},path="/predict",status="499"}} 1.0'
        until(lambda: left in lines())
        assert f'bertjax_errors_total{{code="gone",{of}}} 1.0' in lines()
        assert f"bertjax_requests_in_progress{{{of}}} 1.0" in lines()  # the one that asks
        held.go.set()


def test_a_client_that_leaves_before_the_end_of_its_body_is_counted_as_such(
    start_server, predictor, until
):
    with start_server(predictor, warm=False) as server:
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port), TIMEOUT) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 100\r\n\r\n{"text":'
            )

        def count(of: str) -> list[str]:
            lines = server.client.get("/metrics").text.splitlines()
            return [line for line in lines if line.startswith(of) and "/predict" in line]

        until(lambda: count("bertjax_requests_total"))
        assert 'status="499"' in count("bertjax_requests_total")[0]
        assert 'code="gone"' in server.client.get("/metrics").text
        assert "malformed" not in server.client.get("/metrics").text


def test_what_a_client_that_leaves_has_asked_for_is_not_computed(server, held, until):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/predict", {"text": TEXT})
        assert held.entered.acquire(timeout=TIMEOUT)
        with pytest.raises(httpx.ReadTimeout):
            server.post("/predict", {"texts": TEXTS}, timeout=0.3)
        until(lambda: not server.service._classifier.waiting)  # the queue forgets them
        held.go.set()
        assert first.result(TIMEOUT).status_code == 200


def takes_connections(url: str) -> bool:
    address = httpx.URL(url)
    try:
        socket.create_connection((address.host, address.port), TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def test_what_waits_is_answered_when_the_server_stops(start_server, predictor, until, monkeypatch):
    with ThreadPoolExecutor(4) as pool:
        with start_server(predictor) as server:
            held = Held(server.service, monkeypatch)
            answers = [pool.submit(server.post, "/predict", {"text": TEXT})]
            assert held.entered.acquire(timeout=TIMEOUT)
            answers += [pool.submit(server.post, "/predict", {"text": TEXT}) for _ in range(2)]
            until(lambda: server.service._classifier.waiting == 2)
            server.uvicorn.should_exit = True
            until(lambda: not takes_connections(server.url))
            held.go.set()
            assert [a.result(TIMEOUT).status_code for a in answers] == [200, 200, 200]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")


@contextmanager
def started_without_an_embedder(start_server, checkpoint, monkeypatch):
    """(a server that is ready to predict, an event that has it compile what embeds, threads)."""
    predictor = Predictor(checkpoint)
    predictor.slots = 64
    go, compile_enough = threading.Event(), predictor.embedder.compile_enough
    compiled: list[int] = []

    def held(*arguments):
        compiled.append(len(predictor.classifier._compiled))
        assert go.wait(TIMEOUT)
        compile_enough(*arguments)

    monkeypatch.setattr(predictor.embedder, "compile_enough", held)
    with start_server(predictor, warm=False) as server, ThreadPoolExecutor(2) as pool:
        ready = threading.Event()
        warming = pool.submit(server.service.warm_up, ready.set)
        try:
            assert ready.wait(TIMEOUT)
            yield server, go, pool
        finally:
            go.set()
        warming.result(TIMEOUT)
    assert compiled[0] == 1 < len(predictor.classifier.shapes)  # the rest comes after this


def test_embeddings_asked_for_before_their_program_is_there_wait_for_it(
    start_server, checkpoint, predictor, until, monkeypatch
):
    with started_without_an_embedder(start_server, checkpoint, monkeypatch) as (server, go, pool):
        asked = pool.submit(server.post, "/embed", {"texts": TEXTS})
        until(lambda: server.service._embedder.waiting == len(TEXTS))
        assert server.client.get("/ready").status_code == 200
        assert server.post("/predict", {"text": TEXT}).status_code == 200
        assert not server.service.embeds
        go.set()
        answer = asked.result(TIMEOUT)
        assert answer.status_code == 200
        found = answer.json()["embeddings"]
        np.testing.assert_allclose(found, predictor.embed(TEXTS), atol=1e-6, rtol=0)


def test_embeddings_that_wait_for_their_program_are_told_of_the_end(
    start_server, checkpoint, error_of, until, monkeypatch
):
    with started_without_an_embedder(start_server, checkpoint, monkeypatch) as (server, _, pool):
        asked = pool.submit(server.post, "/embed", {"text": TEXT})
        until(lambda: server.service._embedder.waiting == 1)
        server.service.close()
        answer = asked.result(TIMEOUT)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "stopping")


def test_more_windows_than_may_ever_wait_are_refused_for_good(start_server, checkpoint, error_of):
    predictor = Predictor(
        replace(checkpoint, run=replace(checkpoint.run, max_length=6)), long_texts="windows"
    )
    with start_server(predictor, warm=False, max_queue=8, max_texts=8) as server:
        server.service._ready.set()
        answer = server.post("/predict", {"text": "cat " * 100})
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")
        assert "retry-after" not in answer.headers


def test_texts_of_a_request_are_tokenized_in_turns_with_others(server, monkeypatch):
    seen: list[int] = []
    tokenize = server.service.predictor.tokenize

    def counted(texts):
        seen.append(len(texts))
        return tokenize(texts)

    monkeypatch.setattr(server.service.predictor, "tokenize", counted)
    monkeypatch.setattr("bertjax.serving.service._TEXTS", 2)
    expected = server.service.predictor(TEXTS)
    seen.clear()
    assert server.post("/predict", {"texts": TEXTS}).json()["predictions"] == expected
    assert seen == [2, 2, 1]


def test_short_texts_are_tokenized_at_once_unless_another_thread_tokenizes(
    start_server, predictor, until, monkeypatch
):
    tokenize, threads = Predictor.tokenize, []

    def told(self, texts):
        threads.append(threading.current_thread().name.split("_")[0])
        return tokenize(self, texts)

    with start_server(predictor) as server, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Predictor, "tokenize", told)
        assert server.post("/predict", {"text": TEXT}).status_code == 200
        assert server.post("/predict", {"text": TEXT * 200}).status_code == 200
        with server.service._tokenizing:
            answer = pool.submit(server.post, "/predict", {"text": TEXT})
            until(lambda: server.service._arriving == 1)
        assert answer.result(TIMEOUT).status_code == 200
        assert threads == [server._thread.name, "tokenizer", "tokenizer"]
