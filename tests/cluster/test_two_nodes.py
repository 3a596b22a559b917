"""Two nodes with a core each, on ports of their own: a cluster that runs before and after."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bertjax.serving.about import model_id

RAY = Path(sys.executable).with_name("ray")


TOKEN = secrets.token_hex(32)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return {**kept, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start_node(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A node that has started; it ends with its process."""
    process = subprocess.Popen(
        [RAY, "start", *arguments, "--num-cpus=1", "--object-store-memory=200000000", "--block"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        cwd=folder,
        text=True,
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "Ray runtime started" in line:
            return process
    raise AssertionError("".join(seen))


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("nodes")
    port = free_port()
    ports = ["--min-worker-port=0", "--max-worker-port=0"]  # any that are free
    nodes = [start_node(folder, "--head", f"--port={port}", "--include-dashboard=false", *ports)]
    nodes.append(start_node(folder, f"--address=127.0.0.1:{port}", *ports))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.communicate(timeout=60)


def test_a_worker_on_each_of_two_nodes(address, tiny_folder, table_file, tmp_path):
    program = [sys.executable, "-m", "bertjax", "finetune", str(table_file)]
    options = f"--text title description --label tag --checkpoint {tiny_folder} --epochs 3"
    options += f" --batch-size 8 --learning-rate 5e-3 --workers 2 --ray-address {address}"
    done = subprocess.run(
        [*program, *options.split(), "--out", "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "2 workers with 1 x cpu each" in done.stderr
    run = json.loads((tmp_path / "run" / "bertjax.json").read_text())
    assert run["scores"]["accuracy"] > 0.8
    assert not (tmp_path / "run.snapshots").exists()


def test_the_cluster_runs_on_after_the_training(address):
    status = subprocess.run(
        [RAY, "status", f"--address={address}"], capture_output=True, text=True, env=environment()
    )
    assert len(re.findall(r"node_[0-9a-f]+", status.stdout)) == 2, status.stdout + status.stderr


@pytest.fixture
def serve(address, tmp_path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """`bertjax serve --ray-address` of a run folder; what it left on the cluster is ended."""

    def run(folder: Path, port: int, *flags: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "bertjax", "serve", str(folder), "--port", str(port)]
        return subprocess.run(
            [*program, "--ray", "--ray-address", address, *flags],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=300,
        )

    yield run
    shutdown = [RAY.with_name("serve"), "shutdown", "--yes", "--address", f"ray://{address}"]
    subprocess.run(shutdown, env=environment(), capture_output=True, timeout=100)


def test_replicas_stay_on_a_cluster_until_they_are_replaced(
    serve, packaged_folder, write_model, tmp_path
):
    fields = {"num_hidden_layers": 1, "max_position_embeddings": 16, "id2label": ("ham", "spam")}
    runs = [
        write_model(tmp_path / f"run{seed}", "text-classification", packaged_folder, seed, **fields)
        for seed in (0, 1)
    ]
    port = free_port()
    for run in runs:
        done = serve(run, port)
        assert done.returncode == 0, done.stderr
        assert f"at http://127.0.0.1:{port} from 1 replica" in done.stderr
        assert "it stays there; the same command with another run replaces it" in done.stderr
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json={"text": "a cat"}, timeout=60)
        assert answer.json()["model"] == model_id(run)

    elsewhere = serve(runs[0], free_port())
    assert elsewhere.returncode == 2
    [line] = elsewhere.stderr.strip().splitlines()
    assert f"Ray Serve runs at 127.0.0.1:{port} already: give --host 127.0.0.1 --port" in line


def test_who_has_no_token_is_told_so(address):
    program = (
        "from bertjax.cluster.session import ray_session; ray_session(sys.argv[1]).__enter__()"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}", address],
        capture_output=True,
        text=True,
        env={**environment(), "RAY_AUTH_MODE": "disabled"},
    )
    assert f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE" in done.stderr
