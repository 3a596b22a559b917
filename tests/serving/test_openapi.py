"""The OpenAPI of a server, against which its answers to requests of all kinds are checked."""

import subprocess
import sys
from pathlib import Path

import pytest

from bertjax.serving.predictor import Predictor

TOKEN = {"authorization": "Bearer sesame"}


@pytest.fixture(scope="module")
def server(checkpoint, start_server):
    predictor = Predictor.load(checkpoint.folder)
    predictor.slots = 64  # few programs
    with start_server(predictor, token="sesame") as server:
        yield server


def test_every_answer_is_one_that_openapi_tells_of(server, tmp_path):
    program = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}/openapi.json",
        *("--header", "Authorization: Bearer sesame"),
        *("--checks", "all", "--max-examples", "30", "--seed", "1"),
    ]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: 8" in done.stdout


def test_examples_are_of_the_model_and_are_answered(server):
    schemas = server.client.get("/openapi.json").json()["components"]["schemas"]
    text = schemas["Text"]["properties"]["text"]["examples"][0]
    assert server.post("/predict", {"text": text}, headers=TOKEN).status_code == 200
    assert schemas["LabelledText"]["properties"]["label"]["enum"] == server.about["labels"]
    assert schemas["Row"]["required"] == ["text"]
