"""A real server, asked over HTTP."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from bertjax.evaluation.scores import classification_scores
from bertjax.serving.predictor import Predictor

TEXT = "the cat of the bank"
TEXTS = ["the cat of the bank", "rain", "snow and tax " * 5, "dog bank", "été"]
JSON = {"content-type": "application/json"}
MANY_NAMES = json.dumps({"text": "a", **dict.fromkeys(map(str, range(99)))})
TIMEOUT = 60  # seconds, of what should take none


def test_a_text_gets_the_very_prediction_of_the_predictor(server, predictor):
    answer = server.post("/predict", {"text": TEXT})
    assert answer.status_code == 200
    assert answer.json() == {"model": server.about["model"], "predictions": predictor([TEXT])}


def test_texts_are_answered_in_their_order(server, predictor):
    answer = server.post("/predict", {"texts": TEXTS}).json()
    assert answer["predictions"] == predictor(TEXTS)
    assert len({prediction["score"] for prediction in answer["predictions"]}) == len(TEXTS)


def test_columns_are_joined_as_those_of_a_table(start_server, checkpoint, predictor, error_of):
    run = replace(checkpoint.run, text=("title", "body"))
    with start_server(Predictor(replace(checkpoint, run=run))) as server:
        row = {"title": "the cat", "body": "of the bank", "price": 3}
        rows = [row, {"title": "rain", "body": None}]
        expected = predictor.predict(["the cat of the bank", "rain"]).probabilities
        for columns, count in ((row, 1), (rows, 2)):
            found = server.post("/predict", {"columns": columns}).json()["predictions"]
            probabilities = [list(one["probabilities"].values()) for one in found]
            np.testing.assert_allclose(probabilities, expected[:count], atol=1e-6, rtol=0)
        answer = server.post("/predict", {"columns": {"title": "the cat"}})
        assert answer.status_code == 422
        assert "body: Field required" in error_of(answer)["message"]


def test_many_clients_at_once_get_their_own_answers(server, predictor):
    texts = [" ".join(["cat", "rain", "tax"][: 1 + i % 3] * (1 + i % 7)) for i in range(120)]
    expected = predictor.predict(texts).probabilities
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda text: server.post("/predict", {"text": text}), texts))
    found = [list(a.json()["predictions"][0]["probabilities"].values()) for a in answers]
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_embeddings_are_those_of_the_predictor(server, predictor):
    answer = server.post("/embed", {"texts": TEXTS}).json()
    np.testing.assert_allclose(answer["embeddings"], predictor.embed(TEXTS), atol=1e-6, rtol=0)
    assert answer["model"] == server.about["model"]


def test_labelled_rows_are_scored(server, predictor):
    labels = ["weather", "weather", "money", "animals", "weather"]
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    answer = server.post("/evaluate", {"rows": rows}).json()
    targets = np.array([predictor.labels.index(label) for label in labels])
    expected = classification_scores(targets, predictor.probabilities(TEXTS), predictor.labels)
    assert answer == {"model": server.about["model"], "truncated": 0, **expected}
    rows[0]["label"] = "sports"
    refused = server.post("/evaluate", {"rows": rows})
    assert refused.status_code == 422
    assert "rows.0.label: Input should be 'animals', 'money' or 'weather'" in refused.text


def test_an_explanation_weighs_each_word_by_leaving_it_out(server, predictor):
    answer = server.post("/explain", {"text": TEXT}).json()
    prediction = answer["prediction"]
    assert prediction["label"] == predictor([TEXT])[0]["label"]
    assert [TEXT[word["start"] : word["end"]] for word in answer["words"]] == TEXT.split()
    without = predictor(["the  of the bank"])[0]
    change = prediction["score"] - without["probabilities"][prediction["label"]]
    assert answer["words"][1]["text"] == "cat"
    assert answer["words"][1]["weight"] == pytest.approx(change, abs=1e-6)


def test_it_tells_what_it_serves(server, checkpoint):
    about = server.client.get("/model").json()
    assert about["labels"] == list(checkpoint.labels)
    assert about["threshold"] == 0.6
    assert about["fallback"] == "uncertain"
    assert about["max_length"] == 64
    assert str(checkpoint.folder.parent) not in json.dumps(about)  # no paths of the machine


def test_health_and_readiness_are_two_things(start_server, predictor, error_of):
    with start_server(predictor, warm=False) as server:
        assert server.client.get("/health").json() == {"status": "live"}
        for answer in (server.client.get("/ready"), server.post("/predict", {"text": TEXT})):
            assert answer.status_code == 503
            assert error_of(answer)["code"] == "not_ready"
            assert int(answer.headers["retry-after"]) > 0
        server.service.warm_up()
        assert server.client.get("/ready").json() == {"status": "ready"}
        assert server.post("/predict", {"text": TEXT}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 422, "body: Field required"),
        ("{", 400, "the body is not JSON"),
        (b'{"text": "\xff"}', 400, "the body is not JSON in UTF-8"),
        ("[" * 5000 + "]" * 5000, 400, "the body is not JSON"),
        ("3", 422, "give a JSON object with one of text, texts and columns"),
        ("null", 422, "give a JSON object with one of text, texts and columns"),
        ('{"words": "a"}', 422, "give a JSON object with one of text, texts and columns"),
        ('{"text": "a", "texts": ["b"]}', 422, "texts: Extra inputs are not permitted"),
        (MANY_NAMES, 422, "text: Extra inputs are not permitted"),
        ('{"text": 3}', 422, "text: Input should be a valid string"),
        ('{"text": null}', 422, "text: Input should be a valid string"),
        ('{"text": NaN}', 422, "text: Input should be a valid string"),
        ('{"text": ""}', 422, "text: String should have at least 1 character"),
        ('{"text": "\\ud800"}', 422, "text: Input should be a valid string, unable to parse"),
        ('{"texts": []}', 422, "texts: List should have at least 1 item"),
        ('{"texts": "a"}', 422, "texts: Input should be a valid list"),
        ('{"texts": ["a", 3]}', 422, "texts.1: Input should be a valid string"),
        (json.dumps({"text": "a" * 1001}), 422, "text: String should have at most 1000 characters"),
        (json.dumps({"texts": ["a"] * 21}), 422, "texts: List should have at most 20 items"),
        (json.dumps({"text": "a" * 2**20}), 413, "send at most 30000 bytes"),
        (json.dumps({"texts": ["a"] * 10_000}), 413, "send at most 30000 bytes"),
        ('{"columns": {"title": "a"}}', 422, "text: Field required"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(body, status, message, server, error_of):
    answer = server.client.post("/predict", content=body, headers=JSON)
    assert answer.status_code == status
    assert message in error_of(answer)["message"]


def test_a_body_of_unknown_length_is_bounded_too(server, error_of):
    def chunks():
        for _ in range(40):
            yield b" " * 1000

    answer = server.client.post("/predict", content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", " ", "\u202e", "\U0001d573\U0001f996" * 50, "\ufffe"]
)
def test_odd_characters_are_text(text, server, predictor):
    answer = server.post("/predict", {"text": text})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == predictor([text])


def test_other_paths_and_methods_are_refused_in_the_same_shape(server, error_of):
    missing = server.client.get("/predictions")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "not_found")
    wrong = server.client.get("/predict")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_a_body_that_does_not_arrive_is_not_waited_for(start_server, predictor):
    with start_server(predictor, warm=False, timeout=0.2) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), TIMEOUT) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            answer = connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in answer.lower()  # the rest of the body is not read


def test_a_token_guards_all_but_what_tells_no_secret(start_server, predictor, error_of):
    with start_server(predictor, token="sesame") as server:
        for path in ("/", "/health", "/ready", "/docs", "/openapi.json"):
            assert server.client.get(path).status_code == 200
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic sesame"}):
            for path in ("/model", "/metrics"):
                answer = server.client.get(path, headers=headers)
                assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
            assert server.client.post("/predict", content="{", headers=headers).status_code == 401
        headers = {"authorization": "Bearer sesame"}
        assert server.post("/predict", {"text": TEXT}, headers=headers).status_code == 200


def test_a_request_keeps_the_id_that_it_brings(server):
    given = server.client.get("/health", headers={"x-request-id": "job-7.a"})
    assert given.headers["x-request-id"] == "job-7.a"
    made = server.client.get("/health", headers={"x-request-id": 'a"b\\c'})
    assert len(made.headers["x-request-id"]) == 32


def test_a_failure_of_the_server_tells_nothing_of_its_inside(server, monkeypatch, caplog, error_of):
    def fail(pieces):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(server.service._classifier, "_run", fail)
    answer = server.post("/predict", {"text": TEXT})
    assert answer.status_code == 500
    error = error_of(answer)
    assert error["code"] == "internal"
    assert "secret" not in answer.text
    (record,) = [r for r in caplog.records if r.message == "failed"]
    assert record.request_id == error["request_id"]
    assert "the secret of the house" in str(record.exc_info)


def test_metrics_count_requests_errors_batches_and_tokens(start_server, predictor):
    with start_server(predictor) as server:
        server.post("/predict", {"texts": ["cat", "dog"]})
        server.client.post("/predict", content="{", headers=JSON)
        server.client.get("/predict/" + "x" * 100)
        answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    of = 'model="the-model"'
    for line in (
        f'bertjax_requests_total{{method="POST",{of},path="/predict",status="200"}} 1.0',
        f'bertjax_requests_total{{method="POST",{of},path="/predict",status="400"}} 1.0',
        f'bertjax_requests_total{{method="other",{of},path="other",status="404"}} 1.0',
        f'bertjax_errors_total{{code="malformed",{of}}} 1.0',
        f'bertjax_errors_total{{code="not_found",{of}}} 1.0',
        f'bertjax_request_seconds_count{{{of},path="/predict"}} 2.0',
        f"bertjax_batch_texts_sum{{{of}}} 2.0",
        f"bertjax_tokens_total{{{of}}} 6.0",  # [CLS] cat [SEP], [CLS] dog [SEP]
        f"bertjax_queue_texts{{{of}}} 0.0",
        f"bertjax_ready{{{of}}} 1.0",
    ):
        assert line in answer.text.splitlines()


def test_every_request_is_a_line_of_the_log(server, caplog):
    with caplog.at_level("INFO", "bertjax.serving"):
        answer = server.post("/predict", {"text": TEXT})
        server.client.get("/health")  # the line of a request comes after its answer
    record = next(r for r in caplog.records if r.message == "request")
    assert record.request_id == answer.headers["x-request-id"]
    assert (record.method, record.path, record.status) == ("POST", "/predict", 200)
    assert record.seconds > 0


def test_docs_need_nothing_from_elsewhere(server):
    page = server.client.get("/docs").text
    assert "https://" not in page
    assert "/static/swagger-ui-bundle.js" in page
    assert server.client.get("/static/swagger-ui-bundle.js").status_code == 200


@pytest.mark.parametrize("text", [" ", "cat"])
def test_an_explanation_needs_no_more_than_one_text_a_request(text, start_server, predictor):
    with start_server(predictor, max_texts=1, max_queue=2) as server:
        answer = server.post("/explain", {"text": text})
        assert answer.status_code == 200
        assert [word["text"] for word in answer.json()["words"]] == text.split()


def test_an_explanation_of_a_text_in_windows_leaves_out_groups_of_words(start_server, checkpoint):
    predictor = Predictor(
        replace(checkpoint, run=replace(checkpoint.run, max_length=6)), long_texts="windows"
    )
    predictor.__dict__["embedder"] = predictor.classifier  # to compile one of them only
    with start_server(predictor, max_queue=32, max_texts=32) as server:
        text = " ".join(["cat", "dog", "bank", "tax"] * 5)
        answer = server.post("/explain", {"text": text})
        assert answer.status_code == 200
        assert answer.json()["prediction"]["windows"] > 4
        words = [word["text"] for word in answer.json()["words"]]
        assert " ".join(words) == text
        assert 1 < len(words) < 8


def test_ready_is_over_when_nothing_computes_any_more(start_server, predictor, monkeypatch):
    with start_server(predictor) as server:
        assert server.client.get("/ready").status_code == 200
        server.service._embedder.close()
        assert server.client.get("/ready").status_code == 503
