"""From the name of a tracked run or a registered model to its run folder on this machine."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.errors import UserError
from bertjax.tracking.failures import reason_of
from bertjax.tracking.finished import FOLDER
from bertjax.tracking.run_log import MODEL
from bertjax.tracking.runs import best_run, experiment_names, newest
from bertjax.tracking.store import client_of, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN, BEST, MODELS = "run:", "best:", "models:/"

_SHORTEST = 4  # characters of an id that name a run
_FULL = re.compile(r"[0-9a-f]{32}")


def names_a_run(name: str) -> bool:
    """Whether `fetch` is meant."""
    return name.startswith((RUN, BEST, MODELS))


def fetch(name: str, uri: str) -> Path:
    """The run folder of run:ID, best:EXPERIMENT:METRIC, models:/NAME@ALIAS or models:/NAME/VERSION.

    Where the store's files lie on this machine it is one of them; else it is downloaded, once, to
    `~/.cache/bertjax/runs`. An ID may be cut to its first characters.

    Raises:
        UserError: the store cannot be used, there is no such run or model, or it has no folder.
    """
    if name.startswith(BEST):
        experiment, _, metric = name.removeprefix(BEST).rpartition(":")
        if not experiment or not metric:
            raise UserError(f"{name} is not of the form best:EXPERIMENT:METRIC")
        found = best_run(uri, experiment, metric).id
        return _of_run(client_of(uri), uri, found)
    client = client_of(uri)
    if name.startswith(RUN):
        return _of_run(client, uri, _full_id(client, uri, name.removeprefix(RUN)))
    return _of_model(client, uri, name)


def _full_id(client: "MlflowClient", uri: str, start: str) -> str:
    from mlflow.exceptions import MlflowException

    if _FULL.fullmatch(start):
        try:
            return client.get_run(start).info.run_id
        except MlflowException:
            raise _no_run(uri, start) from None
    if len(start) < _SHORTEST:
        raise UserError(f"run:{start} names no run: give at least {_SHORTEST} characters of its id")
    runs = newest(client, list(experiment_names(client)))
    found = [run.info.run_id for run in runs if run.info.run_id.startswith(start)]
    if not found:
        raise _no_run(uri, start)
    if len(found) > 1:
        raise UserError(f"{len(found)} runs have an id that begins with {start}: give more of it")
    return found[0]


def _no_run(uri: str, name: str) -> UserError:
    return UserError(
        f"{shown(uri)} has no run {name!r}: `bertjax runs` lists those that there are "
        "(--tracking-uri names another store)"
    )


def _of_run(client: "MlflowClient", uri: str, run_id: str) -> Path:
    run = client.get_run(run_id)
    if MODEL not in run.data.tags:
        raise UserError(f"run {run_id} ({run.info.status.lower()}) has left no run folder")
    return _here(f"{str(run.info.artifact_uri).rstrip('/')}/{FOLDER}", uri, run_id)


def _of_model(client: "MlflowClient", uri: str, name: str) -> Path:
    from mlflow.exceptions import MlflowException

    match = re.fullmatch(r"models:/([^/@:]+)(?:@([^/@]+)|/(\d+))", name)
    if match is None:
        raise UserError(f"{name} is not of the form models:/NAME@ALIAS or models:/NAME/VERSION")
    model, alias, version = match.groups()
    try:
        if alias:
            version = str(client.get_model_version_by_alias(model, alias).version)
        source = client.get_model_version_download_uri(model, version)
    except MlflowException as error:
        known = sorted(found.name for found in client.search_registered_models())
        raise UserError(
            f"{shown(uri)} has no {name}: {reason_of(error)}; registered are "
            f"{', '.join(known) or 'none'}"
        ) from error
    return _here(source, uri, f"{model}-{version}-{_digest(source)}")


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:12]


def _here(source: str, uri: str, name: str) -> Path:
    """The artifact folder `source`, downloaded under this name if it is elsewhere."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.utils.file_utils import local_file_uri_to_path

    if source.startswith(("/", "file:")):
        folder = Path(local_file_uri_to_path(source))
        if not folder.is_dir():
            raise UserError(f"the files of the run are gone: there is no folder {folder}")
        return folder
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = caches / "bertjax" / "runs" / name
    if target.is_dir():
        return target

    def download(into: str) -> str:
        return download_artifacts(artifact_uri=source, dst_path=into, tracking_uri=uri)

    try:
        return _once(target, download)
    except (MlflowException, OSError) as error:
        raise UserError(f"cannot download {source}: {reason_of(error)}") from error


def _once(target: Path, download: Callable[[str], str]) -> Path:
    """The target, which appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=target.parent)
    try:
        os.replace(download(scratch), target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
