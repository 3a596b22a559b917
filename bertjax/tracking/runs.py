"""The runs that a store holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bertjax.errors import UserError
from bertjax.tracking.run_log import MODEL, PARENT
from bertjax.tracking.store import client_of, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MOST = 1000  # newest runs of which a few are listed
_LISTED = 12  # names in a message
_LESS_IS_BETTER = ("loss", "seconds")


@dataclass(frozen=True)
class TrackedRun:
    """A run of the store."""

    id: str
    name: str
    experiment: str
    kind: str  # finetune, tune, trial; "" of runs that are not ours
    started: str  # ISO 8601 in UTC
    status: str  # FINISHED, RUNNING, FAILED, KILLED
    seconds: float | None  # from its beginning to its end
    has_model: bool  # whether its run folder can be had
    params: dict[str, str]
    metrics: dict[str, float]  # the last value of each


def list_runs(
    uri: str, experiment: str | None, sort: str | None, trials: bool = False
) -> list[TrackedRun]:
    """The runs of an experiment, or of all: the newest first, or the best by the metric `sort`.

    Args:
        sort: a metric, by which runs that have it come first, the best of them first. Of a loss
            and of seconds, less is better.
        trials: whether the trials of searches are among them.

    Raises:
        UserError: the store cannot be used, there is no such experiment, or no run has the metric.
    """
    client = client_of(uri)
    names = experiment_names(client)
    if experiment is not None:
        names = {key: name for key, name in names.items() if name == experiment}
        if not names:
            raise _no_experiment(client, uri, experiment)
    found = [_describe(run, names) for run in newest(client, list(names))]
    runs = [run for run in found if trials or run.kind != "trial"]
    return by_metric(runs, sort) if sort else runs


def by_metric(runs: Sequence[TrackedRun], metric: str) -> list[TrackedRun]:
    """The best first; those that have no such metric last.

    Raises:
        UserError: none has it.
    """
    known = sorted({name for run in runs for name in run.metrics})
    if runs and metric not in known:
        raise UserError(f"no run has the metric {metric!r}; there are {_listed(known)}")
    sign = 1 if metric.endswith(_LESS_IS_BETTER) else -1
    return sorted(
        runs, key=lambda run: (metric not in run.metrics, sign * run.metrics.get(metric, 0.0))
    )


def best_run(uri: str, experiment: str, metric: str) -> TrackedRun:
    """The best of an experiment's runs whose run folder can be had.

    Raises:
        UserError: see `list_runs`; or there is no such run.
    """
    runs = [run for run in list_runs(uri, experiment, None) if run.has_model]
    if not runs:
        raise UserError(f"the experiment {experiment!r} of {shown(uri)} has no finished run")
    return by_metric(runs, metric)[0]


def experiment_names(client: "MlflowClient") -> dict[str, str]:
    """{id: name} of the experiments that are not deleted."""
    return {found.experiment_id: found.name for found in client.search_experiments()}


def newest(client: "MlflowClient", experiments: Sequence[str]) -> "list[Run]":
    """The newest runs of the experiments of these ids."""
    if not experiments:
        return []
    order = ["attributes.start_time DESC"]
    return list(client.search_runs(list(experiments), order_by=order, max_results=_MOST))


def _no_experiment(client: "MlflowClient", uri: str, name: str) -> UserError:
    known = sorted(experiment_names(client).values())
    return UserError(f"{shown(uri)} has no experiment {name!r}; there are {_listed(known)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more


def _describe(run: Any, names: dict[str, str]) -> TrackedRun:
    info, tags = run.info, run.data.tags
    seconds = (info.end_time - info.start_time) / 1000 if info.end_time else None
    return TrackedRun(
        id=info.run_id,
        name=info.run_name or "",
        experiment=names[info.experiment_id],
        kind="trial" if PARENT in tags else tags.get("kind", ""),
        started=datetime.fromtimestamp(info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        status=info.status,
        seconds=seconds,
        has_model=MODEL in tags,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
    )
