"""Run a program of `benchmarks.children` in a process of its own; measure the process."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_seconds
from bertjax.errors import UserError

ROOT = Path(__file__).parents[1]
PROCESSOR = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
"""Variables of a child that computes on the processor, whatever else the machine has."""

_LOG_LINES = 15  # of a child that failed, which its error shows
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")  # how a traceback ends


_OURS_TO_SET = ("GLIBC_TUNABLES", "MALLOC_")  # how variables begin that benchmarks set themselves


class ProgramError(RuntimeError):
    """A program failed: `line` says how in one, the message shows its last lines of output."""

    def __init__(self, ended: str, output: str) -> None:
        lines = [line for line in output.splitlines() if line.strip()]
        super().__init__("\n".join([f"{ended}:", *lines[-_LOG_LINES:]]))
        raised = [line for line in lines if _RAISED.match(line)]  # notes may follow
        said = (raised or lines or ["it printed nothing"])[-1].strip()
        self.line = f"{ended}: {said}"


@dataclass(frozen=True)
class Child:
    """What a child reported, and what it cost."""

    result: dict[str, Any]
    wall_s: float  # from start to exit, imports included
    peak_bytes: int  # the most of its memory that was resident
    others_cores: float = 0.0  # that all else on this machine kept busy meanwhile, on average


def run_child(
    module: str, settings: dict[str, Any], environment: dict[str, str] | None = None
) -> Child:
    """Run `python -m benchmarks.children.MODULE` and wait.

    `environment`: variables of the child beside those of this process.

    Raises:
        ProgramError: it failed.
    """
    with tempfile.TemporaryDirectory(prefix="bertjax-benchmark-") as name:
        folder = Path(name)
        result, log = folder / "result.json", folder / "log"
        command = child_command(module, settings, folder)
        began, busy = time.perf_counter(), busy_seconds()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(result)],
                cwd=ROOT,
                env=child_environment(environment),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            status, peak_bytes, own = _wait(process)
        wall_s = time.perf_counter() - began
        others = max(0.0, busy_seconds() - busy - own) / wall_s
        if status or not result.exists():
            ended = f"benchmarks.children.{module} ended with status {status}"
            raise ProgramError(ended, log.read_text(encoding="utf-8", errors="replace"))
        values = json.loads(result.read_text(encoding="utf-8"))
        return Child(values, wall_s, peak_bytes, others)


def child_command(module: str, settings: dict[str, Any], folder: Path) -> list[str]:
    """What starts a child, but for the file of its result; its settings are written to `folder`.

    To a file, since one argument holds 128 KiB at most, and some settings are texts.
    """
    path = folder / f"{module}.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return [sys.executable, "-m", f"benchmarks.children.{module}", str(path)]


def child_environment(own: dict[str, str] | None = None) -> dict[str, str]:
    """This process's variables, but those that benchmarks set themselves; and a child's `own`.

    The Hub is left out: all that a child reads is on this machine.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS_TO_SET)}
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"} | (own or {})


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int, float]:
    """Exit status, peak memory in bytes, seconds of processor; killed if this is interrupted.

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
    return process.returncode, usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime


def require(*packages: str) -> None:
    """UserError unless the packages of a peer are installed."""
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UserError(
            f"this benchmark's peers need {' and '.join(absent)}: pip install {' '.join(absent)}"
        )
