"""What a run leaves in the store at its end: figures, the run folder, and a model of MLflow.

The folder becomes a model by a few small files beside its own: so the weights lie there once, and
what is downloaded by any name is a run folder.
"""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertjax.tracking.environment import packages
from bertjax.tracking.figures import draw_figures
from bertjax.tracking.run_log import METRICS, MODEL, RunLog

FOLDER = "run"  # of the artifacts, which holds the run folder
PACKAGES = "environment.txt"
NEWEST = "newest"  # alias of the version that was registered last


def rehearse(until: Callable[[], bool]) -> None:
    """Do once for nothing what `log_end` does: most of its time is what happens once a process.

    That is imports, fonts, and MLflow's look at every installed package. It is done while the data
    is read, which leaves a core, and at the end nobody waits for it.

    Args:
        until: whether the training has begun, which needs all cores.
    """
    model = {"loader": __name__, "inputs": {"text": "string"}, "outputs": {"score": "double"}}
    model |= {"example": {"text": ""}, "requirements": ["pandas"]}
    scores = {"labels": ["a", "b"], "confusion_matrix": [[1, 0], [0, 1]]}
    with suppress(Exception), tempfile.TemporaryDirectory() as folder:  # the end tells what failed
        parts = (
            lambda: _write_model(Path(folder) / "model", "0" * 32, model),
            lambda: draw_figures(Path(folder), [(1, {"loss": 1.0})], [], scores),
            packages,
        )
        for part in parts:
            if not until():
                part()


def log_end(log: RunLog, ending: dict[str, Any]) -> str:
    """Log all that a finished run leaves; the registered model's name and version, "" if none.

    Args:
        ending: folder, scores, history (of epochs), files (more of them, each put as it is),
            model (see `_write_model`; None: no model) and register (its name).
    """
    log.attempt(METRICS, log.send)
    if not log.run_id:
        log.lost["the run folder"] = log.lost[METRICS]
        return ""
    log.attempt("the environment", lambda: log.client.log_text(log.run_id, packages(), PACKAGES))
    log.attempt("the figures", lambda: _log_figures(log, ending))
    for file in ending["files"]:
        log.attempt(Path(file).name, lambda file=file: log.client.log_artifact(log.run_id, file))
    folder, model = ending["folder"], ending["model"]
    if folder is None or not log.attempt(
        "the run folder", lambda: log.client.log_artifacts(log.run_id, folder, FOLDER)
    ):
        return ""
    log.attempt("its tag", lambda: log.client.set_tag(log.run_id, MODEL, "yes"))
    version: list[str] = []
    log.attempt("the model", lambda: version.append(_register(log, model, ending["register"])))
    return version[0] if version else ""


def _log_figures(log: RunLog, ending: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw_figures(Path(folder), log.steps, ending["history"], ending["scores"])
        if drawn:
            log.client.log_artifacts(log.run_id, folder, "figures")


def _register(log: RunLog, model: dict[str, Any], name: str) -> str:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        _write_model(folder, log.run_id, model)
        log.client.log_artifacts(log.run_id, str(folder), FOLDER)
    try:
        log.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{log.artifact_uri.rstrip('/')}/{FOLDER}"
    version = log.client.create_model_version(name, source, log.run_id).version
    log.client.set_registered_model_alias(name, NEWEST, str(version))
    return f"{name} version {version}"


def _write_model(folder: Path, run_id: str, model: dict[str, Any]) -> None:
    """The files that make a model of a run folder.

    Args:
        model: loader, the module that loads it; inputs and outputs, {column: type of MLflow};
            example, {column: value}; requirements, as pip has them.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    def schema(columns: dict[str, str]) -> Schema:
        return Schema([ColSpec(kind, name) for name, kind in columns.items()])

    pyfunc.save_model(
        folder,
        loader_module=model["loader"],
        mlflow_model=Model(artifact_path=FOLDER, run_id=run_id),
        signature=ModelSignature(schema(model["inputs"]), schema(model["outputs"])),
        input_example=pd.DataFrame([model["example"]]),
        pip_requirements=model["requirements"],
    )
