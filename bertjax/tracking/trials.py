"""The trials of a search, as runs under that of the search."""

import time
from typing import Any

from bertjax.tracking.run_log import PARENT, RunLog

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def log_trial(log: RunLog, trial: dict[str, Any]) -> None:
    """Log one trial that has ended, or that a search has left unfinished.

    Args:
        trial: name, status (finished, stopped, failed, unfinished), params, metrics, epochs (of
            each its number and its metrics), seconds and error.
    """
    from mlflow.entities import Metric, Param

    log.send()  # makes the run of the search
    end = round(time.time() * 1000)
    tags = {PARENT: log.run_id, "kind": "trial", "ending": trial["status"]}
    if trial["error"]:
        tags["error"] = trial["error"]
    run = log.client.create_run(
        log.experiment,
        start_time=end - round(trial["seconds"] * 1000),
        tags=tags,
        run_name=trial["name"],
    )
    params = [Param(name, str(value)) for name, value in trial["params"].items()]
    figures = [(0, trial["metrics"]), *trial["epochs"]]
    metrics = [
        Metric(name, value, end, step) for step, part in figures for name, value in part.items()
    ]
    log.client.log_batch(run.info.run_id, metrics=metrics, params=params)
    status = STATUS.get(trial["status"], "KILLED")
    log.client.set_terminated(run.info.run_id, status, end)
