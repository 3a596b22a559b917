"""Run a program of `benchmarks.children` in a process of its own; measure the process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bertjax.errors import UserError

ROOT = Path(__file__).parents[1]

_LOG_LINES = 15  # of a child that failed, which its error shows


@dataclass(frozen=True)
class Child:
    """What a child reported, and what it cost."""

    result: dict[str, Any]
    wall_s: float  # from start to exit, imports included
    peak_bytes: int  # the most of its memory that was resident


def run_child(
    module: str, settings: dict[str, Any], environment: dict[str, str] | None = None
) -> Child:
    """Run `python -m benchmarks.children.MODULE` and wait.

    The Hub is left out: all that a child reads is on this machine. `environment`: variables of the
    child beside those of this process.

    Raises:
        RuntimeError: it failed; the message ends with its last lines of output.
    """
    with tempfile.TemporaryDirectory(prefix="bertjax-benchmark-") as folder:
        result, log = Path(folder, "result.json"), Path(folder, "log")
        program = [sys.executable, "-m", f"benchmarks.children.{module}"]
        variables = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        began = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*program, json.dumps(settings), str(result)],
                cwd=ROOT,
                env=variables | (environment or {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            status, usage = _wait(process)
        wall_s = time.perf_counter() - began
        if status or not result.exists():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = "\n".join(lines[-_LOG_LINES:])
            raise RuntimeError(f"benchmarks.children.{module} ended with status {status}:\n{tail}")
        return Child(json.loads(result.read_text(encoding="utf-8")), wall_s, usage)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Exit status and peak memory in bytes; a child does not outlive an interrupted benchmark.

    The peak starts at this process's own (the kernel hands it on), so this one must stay smaller
    than any child: it imports neither jax nor torch.
    """
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return process.returncode, usage.ru_maxrss * unit


def require(*packages: str) -> None:
    """UserError unless the packages of a peer are installed."""
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UserError(
            f"this benchmark's peers need {' and '.join(absent)}: pip install {' '.join(absent)}"
        )
