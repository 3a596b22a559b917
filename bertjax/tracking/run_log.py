"""One run in the store: what it is told is kept until the store has taken it."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bertjax.tracking.environment import source_tags
from bertjax.tracking.failures import is_lasting, reason_of
from bertjax.tracking.store import client_of, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

# Tags by which runs are found again.
OUT, MODEL, PARENT = "out", "has_model", "mlflow.parentRunId"

METRICS = "metrics"  # as what is lost

_BATCH = 1000  # metrics that MLflow takes at once
_FEW = 100  # params, and tags
_PAUSE = 1.0  # seconds between two tries
_SEEN = 200  # newest runs among which one that was cut off is looked for


class RunLog:
    """Writes one run, which it makes when there is something to send.

    Attributes:
        run_id: "" before that.
        steps: the (step, figures) that it was told, for pictures at the end.
        lost: what the store did not take: {what: why}.
    """

    def __init__(self, client: "MlflowClient", experiment: str, opening: dict[str, Any]):
        self.client = client
        self.experiment = experiment  # its id
        self.run_id = ""
        self.artifact_uri = ""
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.lost: dict[str, str] = {}
        self._opening = opening
        self._params: list[Param] = []
        self._tags: list[RunTag] = []
        self._metrics: list[Metric] = []
        self._deadline = math.inf  # while the store answers

    def settings(self, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Keep settings and tags, to be sent before anything else."""
        from mlflow.entities import Param, RunTag

        self._params += [Param(name, str(value)) for name, value in params.items()]
        self._tags += [RunTag(name, value) for name, value in tags.items()]
        self.try_to_send()

    def _make(self) -> None:
        """Make the run in the store, unless that is done."""
        if self.run_id:
            return
        opening, out = self._opening, self._opening["out"]
        run = _cut_off(self.client, self.experiment, out) if opening["resume"] else None
        if run is None:
            tags = {**source_tags(), "kind": opening["kind"], OUT: out}
            run = self.client.create_run(self.experiment, tags=tags, run_name=opening["name"])
        else:
            self.client.update_run(run.info.run_id, status="RUNNING")
        self.run_id, self.artifact_uri = run.info.run_id, str(run.info.artifact_uri)

    def metrics(self, values: dict[str, float], step: int, milliseconds: int) -> None:
        """Keep the values of a step or an epoch, to be sent."""
        from mlflow.entities import Metric

        self._metrics += [Metric(name, value, milliseconds, step) for name, value in values.items()]

    def send(self) -> None:
        """Make the run and send all that is kept; what the store does not take is kept on."""
        self._make()
        self._send_settings()
        while self._metrics:
            self.client.log_batch(self.run_id, metrics=self._metrics[:_BATCH])
            del self._metrics[:_BATCH]

    def _send_settings(self) -> None:
        try:
            while self._params or self._tags:
                params, tags = self._params[:_FEW], self._tags[:_FEW]
                self.client.log_batch(self.run_id, params=params, tags=tags)
                del self._params[:_FEW], self._tags[:_FEW]
        except Exception as error:
            if not is_lasting(error):
                raise
            self.lost["the settings"] = reason_of(error)  # the metrics can do without
            self._params, self._tags = [], []

    def try_to_send(self) -> None:
        """As `send`, with another try later if the store is away."""
        try:
            self.send()
        except Exception:  # whatever a network or a server does: it is tried again, and told then
            return

    def attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do it, again and again while the store is away; note what is lost. Whether it is done.

        All attempts together get the `patience` of the opening once the store is away.
        """
        while True:
            try:
                action()
            except Exception as error:  # see `try_to_send`
                end = time.monotonic() + self._opening["patience"]
                self._deadline = min(self._deadline, end)
                if is_lasting(error) or time.monotonic() > self._deadline:
                    self.lost[what] = reason_of(error)
                    return False
                time.sleep(_PAUSE)
            else:
                self._deadline = math.inf
                self.lost.pop(what, None)
                return True

    def end(self, status: str) -> None:
        """Send what is left and close the run: FINISHED, FAILED or KILLED."""
        if not self.attempt(METRICS, self.send):
            self.lost[f"{len(self._metrics)} metrics"] = self.lost.pop(METRICS)
        if self.run_id:
            self.attempt("its end", lambda: self.client.set_terminated(self.run_id, status))


def open_log(opening: dict[str, Any]) -> RunLog:
    """Open the store, and make the experiment if there is none; no run yet.

    Args:
        opening: store (a URI), experiment, name of the run, out (its folder), resume (whether a run
            of that folder which was cut off is to go on), kind (the verb), patience (seconds in
            which a store that is away may come back at the end).

    Raises:
        UserError: the store cannot be used.
    """
    client = client_of(opening["store"], make=True)
    return RunLog(client, experiment_id(client, opening["store"], opening["experiment"]), opening)


def _cut_off(client: "MlflowClient", experiment: str, out: str) -> Any:
    """The newest run of this folder that did not come to its end, if there is one."""
    for run in client.search_runs(
        [experiment], order_by=["attributes.start_time DESC"], max_results=_SEEN
    ):
        if run.data.tags.get(OUT) == out and PARENT not in run.data.tags:
            return run if run.info.status != "FINISHED" else None
    return None
