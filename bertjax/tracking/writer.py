"""The process that writes to MLflow while another one trains: `python -m bertjax.tracking.writer`.

It reads messages from its standard input, each a line of JSON [kind, values], and answers with
lines of JSON: `ready` or `refused` after the first, `done` after the last.
"""

import json
import os
import signal
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from bertjax.errors import UserError
from bertjax.tracking.failures import reason_of
from bertjax.tracking.finished import log_end, rehearse
from bertjax.tracking.run_log import RunLog, open_log
from bertjax.tracking.store import check_store
from bertjax.tracking.trials import log_trial

_PAUSE = 2.0  # seconds between two batches of metrics
_NICENESS = 10  # so that the training goes before, and its end has not to wait long

Inbox = SimpleQueue[tuple[str, dict[str, Any]] | None]


def main() -> None:
    """Write one run, until it has ended or the training is gone."""
    os.nice(_NICENESS)
    answers = _take_standard_output()
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    first = inbox.get()
    if first is None:
        return
    try:
        log = _open(first[1])
    except UserError as error:
        _answer(answers, refused=str(error))
        return
    except Exception as error:  # the training is told, and ends; a traceback helps nobody there
        kind = type(error).__name__
        _answer(answers, refused=f"MLflow failed ({kind}: {reason_of(error)}); see --no-track")
        return
    _answer(answers, ready=True)
    rehearse(until=lambda: not inbox.empty())
    model = _listen(inbox, log)
    _answer(answers, done={"run_id": log.run_id, "model": model, "lost": log.lost})


def _open(opening: dict[str, Any]) -> RunLog:
    """SIGTERM, by which a training that comes to nothing ends this process, waits meanwhile.

    It would leave half of the tables of a new database.
    """
    check_store(opening["store"])
    import mlflow  # noqa: F401  # takes seconds, and is done before

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return open_log(opening)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _take_standard_output() -> TextIO:
    """For answers alone: what MLflow prints goes nowhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return answers


def _answer(answers: TextIO, **values: Any) -> None:
    try:
        print(json.dumps(values), file=answers, flush=True)
    except BrokenPipeError:  # nobody is left to be told
        return


def _read(inbox: Inbox) -> None:
    """In a thread, so that whoever writes never waits."""
    for line in sys.stdin:
        inbox.put(tuple(json.loads(line)))
    inbox.put(None)


def _listen(inbox: Inbox, log: RunLog) -> str:
    """Log what comes, metrics many at once, until the run has ended; the registered model."""
    due = time.monotonic() + _PAUSE
    while True:
        if time.monotonic() >= due:
            log.try_to_send()
            due = time.monotonic() + _PAUSE
        try:
            message = inbox.get(timeout=max(due - time.monotonic(), 0.0))
        except Empty:
            continue
        match message:
            case None:  # the training was killed
                if log.run_id:
                    log.end("KILLED")
                return ""
            case ["begin", values]:
                log.settings(values["params"], values["tags"])
            case ["steps", values]:
                for number, figures in enumerate(values["figures"], values["first"]):
                    log.steps.append((number, figures))
                    named = {f"step_{name}": value for name, value in figures.items()}
                    log.metrics(named, number, values["time"])
            case ["metrics", values]:
                log.metrics(values["values"], values["step"], values["time"])
            case ["trial", values]:
                log.attempt(values["name"], lambda values=values: log_trial(log, values))
            case ["finish", values]:
                model = log_end(log, values)
                log.end("FINISHED")
                return model
            case ["fail", values]:
                log.settings({}, {"error": values["error"]})
                log.end(values["status"])
                return ""


if __name__ == "__main__":
    main()
    os._exit(0)  # the thread may wait for a line still, and Python's own end would wait for it
