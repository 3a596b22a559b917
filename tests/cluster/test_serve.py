"""Replicas on a real Ray Serve, asked over HTTP."""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest

from bertjax.errors import UserError
from bertjax.serving.about import model_id
from bertjax.serving.predictor import Predictor
from bertjax.serving.settings import Limits
from bertjax.workflows.serve_configs import ReplicasConfig, ServeConfig

pytestmark = [
    # Ray Serve gives pydantic arguments that are deprecated.
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning"),
    # What a test here makes quicker than Ray has it is read again by `status`.
    pytest.mark.filterwarnings("ignore:`look_back_period_s`:FutureWarning"),
]

TIMEOUT = 120  # seconds, of what should take few
TEXTS = ["a cat", "the bank of the river", "rain", "one two three four five six seven"]


@pytest.fixture(scope="module")
def runs(packaged_folder, write_model, tmp_path_factory) -> tuple[Path, Path]:
    """Two folders of small classifiers that differ."""
    fields = {"num_hidden_layers": 1, "max_position_embeddings": 16, "id2label": ("ham", "spam")}
    one, other = (
        write_model(
            tmp_path_factory.mktemp("runs") / f"run{seed}",
            "text-classification",
            packaged_folder,
            seed,
            **fields,
        )
        for seed in (0, 1)
    )
    return one, other


@pytest.fixture(scope="module")
def expected(runs) -> dict[str, list[list[float]]]:
    """For each model, by its id, the probabilities of the texts."""
    found = {model_id(run): Predictor.load(run).probabilities(TEXTS).tolist() for run in runs}
    (one, other) = found.values()
    assert abs(one[0][0] - other[0][0]) > 1e-3  # a mistaken model would show
    return found


@pytest.fixture(scope="module")
def deployed(runs, ray_here) -> Iterator[ServeConfig]:
    from ray import serve as ray_serve

    from bertjax.cluster.serve import deploy

    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    cluster = ReplicasConfig(ray=True, replicas="2")
    config = ServeConfig(run=str(runs[0]), port=port, cluster=cluster)
    deploy(config, None)
    yield config
    ray_serve.shutdown()


@contextmanager
def asking(port: int, expected: dict, clients: int = 4) -> Iterator[tuple[Counter, list[str]]]:
    """Clients that ask on and on: how many answers each model gave, and what was wrong."""
    models: Counter = Counter()
    wrong: list[str] = []
    ended = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client:
            while not ended.is_set():
                number = (number + 1) % len(TEXTS)
                answer = client.post("/predict", json={"text": TEXTS[number]})
                if answer.status_code != 200:
                    wrong.append(f"{answer.status_code} {answer.text[:100]}")
                    continue
                found = answer.json()
                values = list(found["predictions"][0]["probabilities"].values())
                if values != pytest.approx(expected[found["model"]][number], abs=1e-6):
                    wrong.append(f"{number}: {values}")
                models[found["model"]] += 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield models, wrong
    finally:
        ended.set()
        for thread in threads:
            thread.join(TIMEOUT)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def replicas() -> list[int]:
    """The process ids of the replicas of this process's Ray."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, IndexError):  # it has ended; a zombie has no command
            if process.cmdline()[0].startswith("ray::ServeReplica:bertjax:Replica"):
                found.append(process.pid)
    return found


def test_replicas_answer_as_the_predictor(deployed, runs, expected):
    with httpx.Client(base_url=f"http://127.0.0.1:{deployed.port}", timeout=TIMEOUT) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        answer = client.post("/predict", json={"texts": TEXTS}).json()
        assert answer["model"] == model_id(runs[0])
        found = [list(one["probabilities"].values()) for one in answer["predictions"]]
        for row, wanted in zip(found, expected[answer["model"]], strict=True):
            assert row == pytest.approx(wanted, abs=1e-6)
        refused = client.post("/predict", json={"text": 3}, headers={"x-request-id": "mine"})
        assert refused.status_code == 422
        assert refused.json()["error"]["request_id"] == "mine"
        assert refused.headers.get_list("x-request-id") == ["mine"]
        (made,) = client.get("/health").headers.get_list("x-request-id")
        assert len(made) == 32
        assert "bertjax" in client.get("/").text
    assert len(replicas()) == 2


def test_a_replica_that_is_killed_is_replaced_and_no_answer_is_wrong(deployed, expected):
    before = replicas()
    with asking(deployed.port, expected) as (models, wrong):
        until(lambda: models.total() > 20)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(replicas()) - set(before)) == 1)
        count = models.total()
        until(lambda: models.total() > count + 50)
    # What the killed one had in hand is lost, and said to be so.
    assert len(wrong) <= 4
    assert all(line.startswith('503 {"error":{"code":"replica_ended"') for line in wrong), wrong


def test_a_canary_answers_a_share_of_the_requests(deployed, runs, expected):
    from bertjax.cluster.serve import deploy

    with asking(deployed.port, expected) as (models, wrong):
        deploy(replace(deployed, canary=str(runs[1]), canary_share=0.25), None)
        other = model_id(runs[1])
        until(lambda: models[other] > 20)
        before = models.copy()
        until(lambda: models.total() > before.total() + 400)
    assert wrong == []
    share = (models[other] - before[other]) / (models.total() - before.total())
    assert 0.15 < share < 0.35  # 4.6 standard deviations of 400 draws
    with httpx.Client(base_url=f"http://127.0.0.1:{deployed.port}", timeout=TIMEOUT) as client:
        asked = {"json": {"text": TEXTS[0]}, "headers": {"X-Model": other}}
        assert {client.post("/predict", **asked).json()["model"] for _ in range(8)} == {other}


def test_another_run_replaces_the_first_without_a_failed_request(deployed, runs, expected):
    from bertjax.cluster.serve import deploy

    one, other = (model_id(run) for run in runs)
    with asking(deployed.port, expected) as (models, wrong):
        until(lambda: models[one] > 20)
        deploy(replace(deployed, run=str(runs[1])), None)
        until(lambda: models[other] > 50)
        count = models[one]
        until(lambda: models[other] > 150)
        assert models[one] == count
    assert wrong == []


def test_another_timeout_than_the_one_that_runs_is_refused(deployed):
    from bertjax.cluster.serve import deploy

    limits = replace(deployed.limits, timeout=99.0)
    line = r"another --timeout already: give --timeout 30, or end it with `serve shutdown`$"
    with pytest.raises(UserError, match=line):
        deploy(replace(deployed, limits=limits), None)


def test_replicas_follow_the_load_and_no_request_fails(deployed, expected, monkeypatch):
    from bertjax.cluster import serve

    options = serve._options

    def at_once(config: ServeConfig) -> dict:
        """Ray waits for half a minute before it adds one, and for ten before it takes one away."""
        found = options(config)
        soon = {"upscale_delay_s": 1, "downscale_delay_s": 1, "look_back_period_s": 2}
        scaling = found["autoscaling_config"].model_copy(update=soon)
        return {**found, "autoscaling_config": scaling}

    monkeypatch.setattr(serve, "_options", at_once)
    serve.deploy(replace(deployed, cluster=ReplicasConfig(ray=True, replicas="1:2")), None)
    until(lambda: len(replicas()) == 1)
    with asking(deployed.port, expected, clients=48) as (models, wrong):
        until(lambda: len(replicas()) == 2)
        count = models.total()
        until(lambda: models.total() > count + 100)
    until(lambda: len(replicas()) == 1)
    assert wrong == []


def test_what_is_in_hand_at_the_end_is_answered(deployed):
    """Clients that ask on and on get answers, then a refusal; none is cut off."""
    from bertjax.cluster.serve import undeploy

    answers: Counter = Counter()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{deployed.port}", timeout=TIMEOUT) as client:
            status = 200
            while status == 200:
                try:
                    status = client.post("/predict", json={"texts": TEXTS * 20}).status_code
                except httpx.HTTPError as error:
                    status = type(error).__name__
                answers[status] += 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: answers[200] > 8)
    undeploy(deployed)
    for thread in threads:
        thread.join(TIMEOUT)
    assert set(answers) == {200, 503}
    assert answers[503] == len(threads)


class SlowToEnd:
    """Ray Serve whose application takes its time to end, and the clock by which it does."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.now = 0.0
        self.shut_down_at: float | None = None

    def delete(self, name: str, _blocking: bool = True) -> None:
        if _blocking:
            self.sleep(min(self.seconds, 60))
            if self.seconds > 60:
                raise TimeoutError

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(applications={"bertjax": None} if self.now < self.seconds else {})

    def shutdown(self) -> None:
        self.shut_down_at = self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("seconds", "at"), [(3, 3), (100, 100), (999, 130)])
def test_the_end_waits_for_as_long_as_a_request_may_take(seconds, at, runs, monkeypatch):
    from bertjax.cluster import serve

    ray = SlowToEnd(seconds)
    monkeypatch.setattr(serve, "ray_serve", ray)
    monkeypatch.setattr(serve, "time", ray)
    serve.undeploy(ServeConfig(run=str(runs[0]), limits=Limits(timeout=120)))
    assert ray.shut_down_at == pytest.approx(at, abs=1)


def test_more_replicas_than_cores_are_refused(runs, ray_here):
    from bertjax.cluster.serve import serve

    config = ServeConfig(run=str(runs[0]), cluster=ReplicasConfig(ray=True, replicas="99"))
    with pytest.raises(UserError, match=r"--replicas 99 with --replica-cores 1 do not fit"):
        serve(config, print)


def test_a_port_that_is_taken_is_told_before_anything_starts(runs):
    from bertjax.cluster.serve import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = ServeConfig(run=str(runs[0]), port=port, cluster=ReplicasConfig(ray=True))
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{port} .*another --port"):
            serve(config, print)


def test_a_port_that_is_taken_on_a_cluster_is_told_in_one_line(runs):
    from bertjax.cluster.serve import _why_not

    told = "Traceback\n...\nRuntimeError: Failed to bind to address '127.0.0.1:8000'.\n"
    line = "cannot listen at 127.0.0.1:8000: choose another --port, or --host"
    assert _why_not(ServeConfig(run=str(runs[0])), told) == line


def test_a_run_that_is_none_is_told_before_a_replica_starts(runs, tmp_path, ray_here):
    from bertjax.cluster.serve import serve

    broken = shutil.copytree(runs[0], tmp_path / "broken")
    (broken / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    config = ServeConfig(run=str(broken), cluster=ReplicasConfig(ray=True))
    with pytest.raises(UserError, match="gpt2") as error:
        serve(config, print)
    assert "\n" not in str(error.value)
