"""A real server, asked over HTTP."""

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import numpy as np
import pytest

from bertjax.checkpoints.run_file import RunFile, write_run_file
from bertjax.evaluation.scores import classification_scores
from bertjax.serving.about import model_id
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
        assert error_of(answer)["message"] == "columns.body: Field required"


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
    message = "rows.0.label: Input should be 'animals', 'money' or 'weather'"
    assert refused.json()["error"]["message"] == message


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("regression", "gives values, not classes (a regression): only classes can be scored"),
        ("multi_label_classification", "gives each class a probability of its own (multi-label)"),
    ],
)
@pytest.mark.parametrize("label", ["weather", 0.5])
def test_what_gives_no_single_class_is_not_scored(
    problem, reason, label, start_server, checkpoint, error_of
):
    config = replace(checkpoint.config, problem_type=problem)
    with start_server(Predictor(replace(checkpoint, config=config)), warm=False) as server:
        answer = server.post("/evaluate", {"rows": [{"text": "rain", "label": label}]})
    assert (answer.status_code, error_of(answer)["code"]) == (422, "no_scores")
    assert error_of(answer)["message"].startswith(f"model {reason}")


def test_it_tells_what_it_serves(server, checkpoint):
    about = server.client.get("/model").json()
    assert about == {**server.about, "others": {}}
    assert about["model"] == model_id(checkpoint.folder)
    assert about["run_id"] is None
    assert about["labels"] == list(checkpoint.labels)
    assert about["threshold"] == 0.6
    assert about["fallback"] == "uncertain"
    assert about["max_length"] == 64
    assert str(checkpoint.folder.parent) not in json.dumps(about)  # no paths of the machine


def test_it_tells_of_the_run_that_made_what_it_serves(start_server, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "run")
    scores = {"accuracy": 0.75, "weighted_f1": 0.7}
    settings = {"checkpoint": "some/base"}
    made = RunFile(settings=settings, versions={"jax": "0.1.2"}, scores=scores)
    write_run_file(folder, made)
    (folder / "MLmodel").write_text("flavors:\n  x: y\nmodel_id: null\nrun_id: 0a1b2c3d\n")
    with start_server(Predictor.load(folder), warm=False) as server:
        about = server.client.get("/model").json()
    assert about["run_id"] == "0a1b2c3d"
    assert about["checkpoint"] == "some/base"
    assert about["scores"] == scores
    assert about["labels"] == ["animals", "money", "weather"]
    assert about["versions"]["trained with jax"] == "0.1.2"
    assert about["versions"]["served with jax"] == jax.__version__
    assert about["model"] == model_id(folder)


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
        ("3", 422, "body: give a JSON object with one of text, texts and columns"),
        ("null", 422, "body: give a JSON object with one of text, texts and columns"),
        ('{"words": "a"}', 422, "body: give a JSON object with one of text, texts and columns"),
        ('{"text": "a", "texts": ["b"]}', 422, "texts: Extra inputs are not permitted"),
        ('{"text": "a", "lang": "en"}', 422, "lang: Extra inputs are not permitted"),
        ('{"texts": ["a"], "lang": "en"}', 422, "lang: Extra inputs are not permitted"),
        ('{"columns": {"text": "a"}, "row": 1}', 422, "row: Extra inputs are not permitted"),
        (MANY_NAMES, 422, "body: Object should have at most 10 names"),
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
        ('{"columns": {"title": "a"}}', 422, "columns.text: Field required"),
        ('{"columns": {}}', 422, "columns: give a row of the text columns text, or a list of 1 to"),
        ('{"columns": []}', 422, "columns: give a row of the text columns text, or a list of 1 to"),
        ('{"columns": "a"}', 422, "columns: give a row of the text columns text, or a list of 1"),
        ('{"columns": null}', 422, "columns: give a row of the text columns text, or a list of 1"),
        ('{"columns": [{"text": "a"}, {}]}', 422, "columns.1.text: Field required"),
        (json.dumps({"columns": [{"text": "a"}] * 21}), 422, "columns: List should have at most"),
        ('{"text": "a", "x\\ny": 1}', 422, "'x\\ny': Extra inputs are not permitted"),
        (
            '{"text": ' + "1" * 5000 + "}",
            400,
            "the body is not JSON that is read here: a number has",
        ),
        ("[" * 5000 + "]" * 5000, 400, "the body is not JSON that is read here: it is nested too"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(body, status, message, server, error_of):
    answer = server.client.post("/predict", content=body, headers=JSON)
    assert answer.status_code == status
    assert error_of(answer)["message"].startswith(message)


@pytest.mark.parametrize("path", ["/predict", "/embed", "/explain", "/evaluate"])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_said_to_be_json_is_told_of_the_header(kind, path, server, error_of):
    headers = {} if kind is None else {"content-type": kind}
    answer = server.client.post(path, content=b'{"text": "cat"}', headers=headers)
    assert answer.status_code == 422
    message = error_of(answer)["message"]
    assert message.startswith("body: give a JSON object with ")
    assert message.endswith("and the header Content-Type: application/json")


def test_a_body_of_unknown_length_is_bounded_too(server, error_of):
    def chunks():
        for _ in range(40):
            yield b" " * 1000

    answer = server.client.post("/predict", content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    "text", ["a\x00b", " a", "\u202ea", "\U0001d573\U0001f996" * 50, "\ufffe", ".", "\u0301"]
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


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
def test_what_is_up_may_be_asked_without_a_body(path, server):
    head, get = server.client.head(path), server.client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


def test_nobody_is_sent_to_a_host_that_a_client_names(server, error_of):
    answer = server.post("/predict/", {"text": TEXT}, headers={"host": "elsewhere.example"})
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert "location" not in answer.headers


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
        f"bertjax_batch_seconds_count{{{of}}} 1.0",
        f"bertjax_requests_in_progress{{{of}}} 1.0",  # the one that asks
        f"bertjax_queue_texts{{{of}}} 0.0",
        f"bertjax_ready{{{of}}} 1.0",
    ):
        assert line in answer.text.splitlines()


def test_what_is_refused_at_the_door_is_counted_by_its_path(start_server, predictor):
    headers = {"authorization": "Bearer sesame"}
    with start_server(predictor, token="sesame", warm=False, max_body_bytes=100) as server:
        server.post("/predict", {"text": TEXT})
        server.client.get("/secret")
        server.client.request("PROPFIND", "/embed")
        server.post("/embed", {"text": "a" * 200}, headers=headers)
        lines = server.client.get("/metrics", headers=headers).text.splitlines()
    of = 'model="the-model"'
    for line in (
        f'bertjax_requests_total{{method="POST",{of},path="/predict",status="401"}} 1.0',
        f'bertjax_requests_total{{method="other",{of},path="other",status="401"}} 1.0',
        f'bertjax_requests_total{{method="other",{of},path="/embed",status="401"}} 1.0',
        f'bertjax_requests_total{{method="POST",{of},path="/embed",status="413"}} 1.0',
        f"bertjax_requests_in_progress{{{of}}} 1.0",  # this one
    ):
        assert line in lines
    assert not any("PROPFIND" in line or "secret" in line for line in lines)


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


def test_ready_is_over_when_nothing_computes_any_more(start_server, predictor, monkeypatch):
    with start_server(predictor) as server:
        assert server.client.get("/ready").status_code == 200
        server.service._embedder.close()
        assert server.client.get("/ready").status_code == 503
