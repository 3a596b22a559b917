"""The workflow of `bertjax runs`: what MLflow knows of the trainings so far."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bertjax.errors import UserError

if TYPE_CHECKING:
    from bertjax.tracking.runs import TrackedRun

_WIDE = 250  # columns of what is no terminal: nothing is folded there
_SHORT = 8  # characters of an id
_SHOWN = ("weighted_f1", "accuracy")


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """List the trainings that MLflow knows, the newest or the best first."""

    experiment: str | None = None
    """Whose runs are listed; by default those of all experiments."""
    sort: str | None = None
    """Metric by which the best come first, as in weighted_f1; by default the newest do."""
    limit: int = 20
    """Runs that are listed."""
    trials: bool = False
    """List the trials of searches too."""
    tracking_uri: str | None = None
    """MLflow's store, as of `finetune`."""
    json: bool = False
    """Print a line of JSON a run, with its settings and all metrics."""

    def check(self) -> None:
        """Raise a UserError if a setting is out of its range."""
        if self.limit < 1:
            raise UserError(f"--limit is {self.limit}, but must be at least 1")


def list_tracked(config: RunsConfig) -> "list[TrackedRun]":
    """The runs, in the order in which they are shown.

    Raises:
        UserError: the store cannot be used, or has no such experiment or metric.
        ModuleNotFoundError: mlflow is not installed.
    """
    config.check()
    from bertjax.tracking.runs import list_runs
    from bertjax.tracking.store import store_uri

    uri = store_uri(config.tracking_uri)
    runs = list_runs(uri, config.experiment, config.sort, config.trials)
    return runs[: config.limit]


def print_runs(runs: "Sequence[TrackedRun]", config: RunsConfig) -> None:
    """On standard output: lines of JSON, or a table."""
    if config.json:
        for run in runs:
            print(json.dumps(asdict(run), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    metrics = dict.fromkeys((config.sort, *_SHOWN) if config.sort else _SHOWN)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "name", "experiment", "started", "status"):
        table.add_column(name, no_wrap=name == "run", overflow="fold")
    for name in ("rows", "classes", "seconds", *(metric.replace("_", " ") for metric in metrics)):
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(*_cells(run, list(metrics)))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)


def _cells(run: "TrackedRun", metrics: Sequence[str]) -> list[str]:
    started = datetime.fromisoformat(run.started).astimezone()
    name = f"{run.name} ({run.kind})" if run.kind in ("trial", "tune") else run.name
    return [
        *(run.id[:_SHORT], name, run.experiment, started.strftime("%Y-%m-%d %H:%M")),
        *(run.status.lower(), run.params.get("data_rows", ""), run.params.get("data_classes", "")),
        "" if run.seconds is None else f"{run.seconds:.0f}",
        *(f"{run.metrics[name]:.4f}" if name in run.metrics else "" for name in metrics),
    ]
