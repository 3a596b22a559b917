"""What a search does at the end of each trial: a line, the table, and room on the disk."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from bertjax.cluster.search_folder import SearchFolder
from bertjax.cluster.tune_report import (
    FAILED,
    FINISHED,
    STOPPED,
    UNFINISHED,
    Row,
    best_of,
    describe,
    rows_of,
    write_table,
)
from bertjax.workflows.tune_configs import TuneConfig


class Console(Callback):
    """Ray Tune calls it, and keeps it for a search that is resumed.

    Args:
        names: of the settings that are searched.
    """

    def __init__(self, config: TuneConfig, names: Sequence[str]):
        self._config = config
        self._names = names
        self._noted = 0  # time of the notes that were kept last

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Between two steps Ray Tune's notes are whole."""
        if not trials or trials[0].storage is None:
            return
        written = Path(trials[0].storage.experiment_driver_staging_path)
        newest = max(
            (path.stat().st_mtime_ns for path in written.glob("experiment_state-*")), default=0
        )
        if newest > self._noted:
            SearchFolder(self._config).keep_notes(written)
            self._noted = newest

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._ended(trials, trial, STOPPED)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._ended(trials, trial, FAILED)

    def _ended(self, trials: list[Trial], trial: Trial, status: str) -> None:
        rows = rows_of(trials)
        place = next(n for n, row in enumerate(rows) if row.name == trial.trial_id)
        if rows[place].status == UNFINISHED:  # Ray Tune sets the trial's own word afterwards
            rows[place] = replace(rows[place], status=status)
        folder = SearchFolder(self._config)
        write_table(folder.table, rows, self._names, self._config.metric)
        best = best_of(rows, self._config.metric)
        print(self._line(rows[place], best), file=sys.stderr)
        for row in rows:
            if row.status not in (UNFINISHED, STOPPED) and row != best:
                shutil.rmtree(folder.runs / row.name, ignore_errors=True)

    def _line(self, row: Row, best: Row | None) -> str:
        settings = describe(row.settings)
        what = f"trial {row.number} of {self._config.trials} {row.status}"
        if row.status == FAILED:
            return f"{what}: {row.error} ({settings})"
        figure = "" if row.best is None else f"{self._config.metric} {row.best:.4f}"
        if row.status == FINISHED and row == best:
            figure += ", the best so far"
        if row.status == STOPPED:
            figure += f" after {row.epochs} {'epoch' if row.epochs == 1 else 'epochs'}"
        return f"{what}: {figure} ({settings}; {row.seconds:.0f} s)"
