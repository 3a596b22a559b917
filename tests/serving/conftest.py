"""A small classifier with a real tokenizer, and a server of it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.serving.about import describe
from bertjax.serving.api import make_app
from bertjax.serving.metrics import Metrics
from bertjax.serving.predictor import Predictor
from bertjax.serving.service import Service
from bertjax.serving.settings import Limits

LABELS = ("animals", "money", "weather")
TIMEOUT = 60  # seconds, of what should take none


@pytest.fixture(scope="session")
def checkpoint(packaged_folder, write_model, tmp_path_factory) -> Checkpoint:
    """A classifier with a tokenizer, whose probabilities are far from each other."""
    folder = tmp_path_factory.mktemp("classifier") / "model"
    fields = {"num_hidden_layers": 1, "id2label": LABELS}
    return load(write_model(folder, "text-classification", packaged_folder, **fields))


class Server:
    """A server in a thread of this process, on a port that was free."""

    def __init__(self, service: Service, token: str | None):
        self.service = service
        self.about = describe(service.predictor, "float32")
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = make_app(service, self.about, token, service.close)
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=TIMEOUT)
        self.uvicorn = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self.uvicorn.run, args=([listener],))
        self._thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT)

    def post(self, path: str, json: Any, **options: Any) -> httpx.Response:
        return self.client.post(path, json=json, **options)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.client.close()
        self.uvicorn.should_exit = True
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        self._listener.close()


@pytest.fixture(scope="session")
def start_server() -> Callable:
    """(predictor, limits of `Limits`) -> a context with a Server; its programs are compiled."""

    @contextmanager
    def start(
        predictor: Predictor, token: str | None = None, warm: bool = True, **limits: Any
    ) -> Iterator[Server]:
        metrics = Metrics().of("the-model")
        service = Service(predictor, Limits(**limits), metrics)
        server = Server(service, token)
        try:
            if warm:
                service.warm_up()
            yield server
        finally:
            server.stop()

    return start


@pytest.fixture(scope="session")
def predictor(checkpoint):
    predictor = Predictor.load(checkpoint.folder, threshold=0.6)
    predictor.slots = 64  # few programs: what is under test is not how rows are shared
    return predictor


@pytest.fixture(scope="session")
def server(predictor, start_server):
    limits = {"max_texts": 20, "max_characters": 1000, "max_body_bytes": 30_000}
    with start_server(predictor, **limits) as server:
        yield server


@pytest.fixture(scope="session")
def error_of() -> Callable[[httpx.Response], dict]:
    """An answer -> its error, in the one shape that all have."""

    def error_of(answer: httpx.Response) -> dict:
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "request_id"}
        assert error["request_id"] == answer.headers["x-request-id"]
        assert "\n" not in error["message"]
        assert "Traceback" not in answer.text
        return error

    return error_of


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds."""

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return until
