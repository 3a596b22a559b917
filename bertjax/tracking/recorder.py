"""The training's side of tracking: it tells a process of its own, and waits for nothing.

MLflow takes seconds to import, and its calls wait for disks and networks. So `writer` does all
that in a process beside the training, which reads what is told here from a pipe.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import bertjax
from bertjax.errors import UserError

_PATIENCE = 60.0  # seconds to make the tables of a new database on a slow machine

# Defaults for the process; what the user has set goes before. MLflow would try a server that is
# away for minutes, and tell its makers of each run.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Recorded(NamedTuple):
    """What became of a run in the store."""

    run_id: str
    model: str  # name and version in the registry; "": none
    lost: dict[str, str]  # what the store did not take, and why


class Recorder:
    """A run of MLflow that another process writes.

    Args:
        opening: see `run_log.open_log`.
    """

    def __init__(self, opening: dict[str, Any]):
        root = str(Path(bertjax.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bertjax.tracking.writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**_ENVIRONMENT, **os.environ, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C is for the training, which tells of it
        )
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name="bertjax-tracking", daemon=True)
            for work in (self._write, self._read)
        ]
        for thread in self._threads:
            thread.start()
        self.tell("open", **opening)

    def tell(self, kind: str, /, **values: Any) -> None:
        """Returns at once; see `writer` for the kinds."""
        self._lines.put(json.dumps([kind, values]) + "\n")

    def steps(self, first: int, figures: Any) -> None:
        """The figures of steps, the first of which is update number `first`."""
        self.tell("steps", first=first, figures=list(figures), time=_now())

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Values at a step, an epoch, or the end."""
        self.tell("metrics", step=step, values=values, time=_now())

    def wait_until_ready(self) -> None:
        """Return when the store is open.

        Raises:
            UserError: it does not.
        """
        try:
            answer = self._answer(_PATIENCE)
        except Empty:
            raise UserError(
                f"the tracking store did not answer in {_PATIENCE:.0f} s: correct --tracking-uri, "
                "or do without (--no-track)"
            ) from None
        if answer is None:
            raise UserError(
                "the process that writes to MLflow has died: see whether `python -c 'import "
                "mlflow'` works, or do without (--no-track)"
            )
        if "refused" in answer:
            raise UserError(answer["refused"])

    def finish(self, **ending: Any) -> Recorded:
        """Hand over what a finished run leaves (see `finished.log_end`), and wait for the end."""
        self.tell("finish", **ending)
        return self._wait_for_the_end()

    def fail(self, error: str, status: str) -> Recorded:
        """Close a run that has FAILED or was KILLED, and wait for that."""
        self.tell("fail", error=error, status=status)
        return self._wait_for_the_end()

    def close(self) -> None:
        """End the process, whatever it is doing but making tables; or see that it has ended."""
        self._lines.put(None)
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()

    def _wait_for_the_end(self) -> Recorded:
        self._lines.put(None)
        answer = self._answer()
        if answer is None or "done" not in answer:
            return Recorded("", "", {"what came last": "the process that writes to it has died"})
        return Recorded(**answer["done"])

    def _answer(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next answer; None, however often it is asked, when there will be no more."""
        answer = self._answers.get(timeout=timeout)
        if answer is None:
            self._answers.put(None)
        return answer

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as pipe:  # it has died, and that is told later
            while (line := self._lines.get()) is not None:
                pipe.write(line)
                pipe.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                self._answers.put(json.loads(line))
        self._answers.put(None)


def _now() -> int:
    return round(time.time() * 1000)
