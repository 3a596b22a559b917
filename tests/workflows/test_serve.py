"""`bertjax serve` as a process: a port, answers, and a good end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bertjax.checkpoints.run_file import RunFile, write_run_file
from bertjax.errors import UserError
from bertjax.serving.settings import Limits
from bertjax.workflows.serve import serve
from bertjax.workflows.serve_configs import ServeConfig

TIMEOUT = 120  # seconds, of what should take few


@pytest.fixture(scope="module")
def run(tmp_path_factory, packaged_folder, write_model) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tags"
    fields = {"num_hidden_layers": 1, "max_position_embeddings": 16, "id2label": ("ham", "spam")}
    return write_model(folder, "text-classification", packaged_folder, **fields)


@contextmanager
def started(run: Path, *flags: str, **variables: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """(the process, its address), as soon as it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bertjax", "serve", str(run), "--port", "0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found, first + process.stderr.read()
        assert process.stderr.readline().startswith("ready after ")
        yield process, found[0]
    finally:
        process.kill()
        process.wait(TIMEOUT)
        for pipe in (process.stdout, process.stderr):
            pipe.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_well(run, ending):
    with started(run, BERTJAX_TOKEN="sesame") as (process, url):
        headers = {"authorization": "Bearer sesame", "x-request-id": "mine"}
        body = {"texts": ["a cat", "a dog"]}
        assert httpx.post(f"{url}/predict", json=body, timeout=TIMEOUT).status_code == 401
        answer = httpx.post(f"{url}/predict", json=body, headers=headers, timeout=TIMEOUT)
        assert {p["prediction"] for p in answer.json()["predictions"]} <= {"ham", "spam"}
        process.send_signal(ending)
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert err == "stopped\n"
    lines = [json.loads(line) for line in out.splitlines()]  # each line is JSON, all of it
    line = next(line for line in lines if line.get("request_id") == "mine")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert line["level"] == "INFO"
    assert "T" in line["time"]


def test_a_canary_answers_some_requests_and_is_counted_apart(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    write_run_file(other, RunFile(temperature=9.0))
    with started(run, "--canary", str(other), "--canary-share", "0.5") as (_, url):
        answers, scores = {}, {}
        deadline = time.monotonic() + TIMEOUT
        while len(answers) < 2:  # at first the other is still being compiled
            assert time.monotonic() < deadline
            answer = httpx.post(f"{url}/predict", json={"text": "a cat"}, timeout=TIMEOUT).json()
            answers[answer["model"]] = answers.get(answer["model"], 0) + 1
            scores[answer["model"]] = answer["predictions"][0]["score"]
        assert len(set(scores.values())) == 2
        metrics = httpx.get(f"{url}/metrics").text
        served = httpx.get(f"{url}/model").json()
        assert served["others"] == {model: "other" for model in answers if model != served["model"]}
        for model in [*answers] * 4:  # one that is named explains what it predicted
            asked = {"json": {"text": "a cat"}, "headers": {"X-Model": model}, "timeout": TIMEOUT}
            found = httpx.post(f"{url}/explain", **asked).json()
            assert (found["model"], found["prediction"]["score"]) == (model, scores[model])
    for model, count in answers.items():
        line = f'{{method="POST",model="{model}",path="/predict",status="200"}} {count}.0'
        assert f"bertjax_requests_total{line}" in metrics


@pytest.fixture
def refused(capsys) -> Callable[[ServeConfig], str]:
    """Settings -> the one line by which they are refused."""

    def refused(config: ServeConfig) -> str:
        with pytest.raises(UserError) as error:
            serve(config, print)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refused


def test_a_canary_that_takes_or_gives_other_things_is_told(run, tmp_path, refused):
    other = shutil.copytree(run, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes"}
    (other / "config.json").write_text(json.dumps(config))
    line = refused(ServeConfig(run=str(run), canary=str(other)))
    assert line.startswith("other has other labels than tags (no, yes; ham, spam), so requests")
    write_run_file(tmp_path / "other", RunFile(text=("title",)))
    line = refused(ServeConfig(run=str(run), canary=str(other)))
    assert line.startswith("other has other text columns than tags (title; text)")


def test_a_port_in_use_is_told(run, refused):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = refused(ServeConfig(run=str(run), port=port))
    assert line.startswith(f"cannot listen at 127.0.0.1:{port} (Address already in use): choose")


@pytest.mark.parametrize("host", ["256.1.1.1", "no-such-host.invalid", "203.0.113.1"])
def test_an_address_that_is_not_here_is_told(host, run, refused):
    assert refused(ServeConfig(run=str(run), host=host)).startswith(f"cannot listen at {host}:8000")


def test_a_folder_that_is_no_run_is_told(tmp_path, refused):
    (tmp_path / "notes.txt").write_text("")
    assert "holds no config.json" in refused(ServeConfig(run=str(tmp_path)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"port": 70000}, "--port is 70000"),
        ({"threshold": 1.5}, "the threshold is 1.5"),
        ({"canary_share": 2}, "--canary-share is 2"),
        ({"canary": "no/such/run"}, "no/such/run"),
        ({"limits": Limits(max_texts=9, max_queue=8)}, "would never fit into --max-queue 8"),
    ],
)
def test_settings_out_of_range_are_told(config, message, run, refused):
    assert message in refused(ServeConfig(run=str(run), **config))


@pytest.mark.parametrize("token", ["sésame", "sesame\n", " sesame", "", "open sesame"])
def test_a_token_that_no_header_can_hold_is_told(token, run, refused, monkeypatch):
    monkeypatch.setenv("BERTJAX_TOKEN", token)
    assert refused(ServeConfig(run=str(run))).startswith("BERTJAX_TOKEN must hold ASCII characters")
