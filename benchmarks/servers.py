"""Servers that a benchmark sends requests to: each a process of its own, on a port of loopback."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.processes import ROOT

Side = Literal["bertjax", "transformers", "infinity"]

_PATIENCE = 300  # seconds that a server gets to be ready
_POLL = 0.1  # seconds


@dataclass(frozen=True)
class Server:
    """One that answers."""

    side: Side
    url: str  # of a prediction
    form: str  # of requests and answers, for `http_load`
    ready_s: float  # from the start of the program


@contextmanager
def started(
    side: Side,
    folder: str,
    threads: int,
    precision: str = "float32",
    infinity: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """A server of a side, which is stopped in the end.

    Raises:
        RuntimeError: it ends, or is not ready in time; the message has its last lines.
    """
    port = _free_port()
    program, ready, predict, form = _command(side, folder, port, threads, precision, infinity)
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        **(environment or {}),
    }
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            program, cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}{ready}", log)
            seconds = time.perf_counter() - began
            yield Server(side, f"http://127.0.0.1:{port}{predict}", form, seconds)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(
    side: Side, folder: str, port: int, threads: int, precision: str, infinity: Path | None
) -> tuple[list[str], str, str, str]:
    """(program, path that tells whether it is ready, path of a prediction, form of requests)."""
    if side == "bertjax":
        flags = ["--port", str(port), "--precision", precision]
        return [sys.executable, "-m", "bertjax", "serve", folder, *flags], *_PATHS["bertjax"]
    if side == "transformers":
        settings = json.dumps({"folder": folder, "port": port, "threads": threads})
        module = "benchmarks.children.torch_server"
        return [sys.executable, "-m", module, settings, os.devnull], *_PATHS["torch"]
    assert infinity is not None
    flags = ["--model-id", folder, "--served-model-name", "model", "--engine", "torch"]
    flags += ["--device", "cpu", "--port", str(port), "--host", "127.0.0.1"]
    return [str(infinity), "v2", *flags], *_PATHS["infinity"]


_PATHS = {
    "bertjax": ("/ready", "/predict", "bertjax"),
    "torch": ("/health", "/predict", "torch"),
    "infinity": ("/health", "/classify", "infinity"),
}


def _wait_until_ready(process: subprocess.Popen, url: str, log) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None:
                break
            time.sleep(_POLL)
    log.seek(0)
    tail = log.read().decode(errors="replace").splitlines()[-15:]
    raise RuntimeError("a server did not become ready:\n" + "\n".join(tail))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
