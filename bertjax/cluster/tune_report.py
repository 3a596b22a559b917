"""The trials of a search as the rows of a table."""

import csv
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from bertjax.checkpoints.atomic import write_text
from bertjax.cluster.failures import user_error
from bertjax.cluster.trial import BEST, BEST_EPOCH, ENDED, HISTORY

LESS_AT_ONCE = "use fewer --concurrent trials, smaller batches, or a shorter --max-length"

FINISHED, STOPPED, FAILED, UNFINISHED = "finished", "stopped", "failed", "unfinished"


@dataclass(frozen=True)
class Row:
    """A trial, as the table has it."""

    number: int  # from 1, in the order of their beginning
    name: str  # of its run folder
    status: str  # finished, stopped by ASHA, failed, or unfinished
    settings: dict[str, Any]
    epochs: int  # that were run
    best: float | None  # of the metric, over these epochs
    best_epoch: int | None
    seconds: float
    error: str  # one line
    history: Sequence[dict[str, float]] = ()  # the figures of each epoch


def rows_of(trials: Sequence[Trial]) -> list[Row]:
    """A row a trial, from what Ray Tune knows of it."""
    return [_row(number, trial) for number, trial in enumerate(sorted(trials, key=_order), 1)]


def _order(trial: Trial) -> int:
    """The number by which the tags of the search engines begin; Ray Tune's lists have no order."""
    return int(str(trial.experiment_tag).partition("_")[0])


def _row(number: int, trial: Trial) -> Row:
    last = trial.last_result or {}
    error = _error_of(trial)
    if last.get(ENDED):
        status = FINISHED
    elif error or trial.status == Trial.ERROR:
        status = FAILED
    else:
        status = STOPPED if trial.status == Trial.TERMINATED else UNFINISHED
    return Row(
        number=number,
        name=trial.trial_id,
        status=status,
        settings=dict(trial.config),
        epochs=int(last.get("epoch", 0)),
        best=last.get(BEST),
        best_epoch=int(last[BEST_EPOCH]) if BEST_EPOCH in last else None,
        seconds=round(last.get("time_total_s", 0.0), 1),
        error=error if status == FAILED else "",
        history=tuple(last.get(HISTORY, ())),
    )


def _error_of(trial: Trial) -> str:
    """What ended a trial, in one line; Ray Tune copies its notes to the search's folder later."""
    local = trial.pickled_error_file
    error = None
    if local and Path(local).exists():
        error = pickle.loads(Path(local).read_bytes())
    error = error or trial.get_pickled_error()
    if error is not None:
        return str(user_error(error, "the trial", remedy=LESS_AT_ONCE))
    lines = str(trial.get_error() or "").strip().splitlines()
    return lines[-1] if lines else ""


def best_of(rows: Sequence[Row], metric: str) -> Row | None:
    """The best of the trials that came to their end, and so left a run folder."""
    best, value = None, 0.0
    for row in rows:
        if row.status != FINISHED or row.best is None:
            continue
        if best is None or (row.best < value if metric == "loss" else row.best > value):
            best, value = row, row.best
    return best


def write_table(path: Path, rows: Sequence[Row], names: Sequence[str], metric: str) -> None:
    """A CSV with a row a trial; `names` are the settings that are searched."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["trial", "status", *names, "epochs_run", f"best_{metric}", "best_epoch", "seconds"]
    writer.writerow([*head, "error"])
    for row in rows:
        settings = [row.settings.get(name) for name in names]
        figures = [row.epochs, row.best, row.best_epoch, row.seconds, row.error]
        writer.writerow([row.number, row.status, *settings, *figures])
    write_text(path, text.getvalue())


def describe(settings: dict[str, Any]) -> str:
    """Settings in few characters: learning_rate 0.00021, batch_size 16."""
    parts = []
    for name, value in settings.items():
        parts.append(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(parts)
