"""Servers that a benchmark sends requests to: each a process of its own, on a port of loopback."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.processes import PROCESSOR, ROOT, ProgramError, child_command, child_environment
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT

Form = Literal["bertjax", "torch", "infinity"]
"""Of requests and answers, for `http_load`."""

_PATIENCE = 300  # seconds that a server gets to be ready
_POLL = 0.1  # seconds


@dataclass(frozen=True)
class AskConfig:
    """What a server is asked."""

    data: tuple[str, ...] = ("sample",)
    """Tables of texts: .csv, .tsv, .jsonl or .parquet files with a header, or `sample`."""
    text: tuple[str, ...] = ("title", "description")
    """Columns that hold text: of each table, those that it has."""
    checkpoint: str = DEFAULT_CHECKPOINT
    """A classifier, or a BERT that gets a random head of 4 classes."""
    texts: int = 500
    """So many texts, in a seeded order, which are asked for in turn."""
    connections: int = 64
    """That are open at once."""


@dataclass(frozen=True)
class Program:
    """How a server is started and asked."""

    side: str
    precision: str  # of matrix products
    command: Callable[[int], list[str]]  # of a port
    ready: str  # path that tells whether it is
    predict: str  # path of a prediction
    form: Form


@dataclass(frozen=True)
class Server:
    """One that answers."""

    side: str
    precision: str  # of matrix products
    url: str  # of a prediction
    form: Form
    ready_s: float  # from the start of the program
    pid: int


def bertjax_server(folder: str, precision: str, *flags: str) -> Program:
    command = [sys.executable, "-m", "bertjax", "serve", folder, "--precision", precision, *flags]
    return Program("bertjax", precision, _with_port(command), "/ready", "/predict", "bertjax")


def transformers_server(folder: str, threads: int) -> Program:
    """`children.torch_server`."""

    def command(port: int) -> list[str]:
        settings = {"folder": folder, "port": port, "threads": threads}
        return child_command("torch_server", settings, Path(folder).parent)

    return Program("transformers", "float32", command, "/health", "/predict", "torch")


def infinity_server(program: Path, folder: str, engine: Literal["torch", "optimum"]) -> Program:
    """infinity-emb. `optimum` computes `model.onnx` of the folder by ONNX Runtime."""
    command = [str(program), "v2", "--model-id", folder, "--served-model-name", "model"]
    # Its warm-up sends more tokens than the model has positions, which its ONNX engine cannot cut.
    command += ["--engine", engine, "--device", "cpu", "--no-model-warmup", "--host", "127.0.0.1"]
    side = "infinity, torch" if engine == "torch" else "infinity, ONNX"
    return Program(side, "float32", _with_port(command), "/health", "/classify", "infinity")


def _with_port(command: list[str]) -> Callable[[int], list[str]]:
    return lambda port: [*command, "--port", str(port)]


@contextmanager
def started(
    program: Program, threads: int, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """The server of a program, which is stopped in the end.

    `environment`: variables of the program beside those of this process.

    Raises:
        ProgramError: it ends, or is not ready in time.
    """
    port = _free_port()
    variables = {
        **PROCESSOR,
        "OMP_NUM_THREADS": str(threads),
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        **(environment or {}),
    }
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            program.command(port),
            cwd=ROOT,
            env=child_environment(variables),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}{program.ready}"
            _wait_until_ready(process, program.side, url, log)
            seconds = time.perf_counter() - began
            url = f"http://127.0.0.1:{port}{program.predict}"
            yield Server(program.side, program.precision, url, program.form, seconds, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen, side: str, url: str, log) -> None:
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
    raise ProgramError(
        f"the server of {side} did not become ready", log.read().decode(errors="replace")
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
