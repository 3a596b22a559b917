"""What the user typed where a run folder is expected, which may be a name that MLflow knows."""

import os
from dataclasses import replace

from bertjax.tracking.fetch import fetch, names_a_run
from bertjax.tracking.store import store_uri
from bertjax.workflows.serve_configs import ServeConfig


def run_folder(name: str, tracking_uri: str | None) -> str:
    """The run folder on this machine of run:ID, best:EXPERIMENT:METRIC or models:/NAME@ALIAS.

    Any other name, and that of a folder which is there, is returned as it is.

    Raises:
        UserError: the store cannot be used, or has no such run.
        ModuleNotFoundError: mlflow is not installed.
    """
    if not names_a_run(name) or os.path.isdir(name):
        return name
    return str(fetch(name, store_uri(tracking_uri)))


def with_folders(config: ServeConfig) -> ServeConfig:
    """The config with run folders of this machine in the place of names."""
    canary = config.canary and run_folder(config.canary, config.tracking_uri)
    return replace(config, run=run_folder(config.run, config.tracking_uri), canary=canary)
