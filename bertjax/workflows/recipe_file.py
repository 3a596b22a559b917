"""A recipe: a JSON file of settings of a fine-tuning, by the names of their flags."""

import json
from pathlib import Path
from typing import Any

from bertjax.checkpoints.atomic import write_text
from bertjax.errors import UserError
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.flat_settings import convert, flat_settings, setting_types

# Where a run is written and what becomes of one that is there are no matter of a recipe, nor is on
# which machines it runs or who is told.
LEFT_OUT = frozenset(
    {
        *("out", "resume", "overwrite", "snapshot_every", "workers", "worker_gpus", "topology"),
        *("accelerator", "ray_address", "storage", "retries"),
        *("track", "tracking_uri", "experiment", "register"),
    }
)


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings that a recipe names, each of the type that it has in a FinetuneConfig.

    Raises:
        UserError: there is no such file, it is not an object of JSON, it names a setting that is
            not known, or a value is of another type.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f'{path} is not an object of settings, as in {{"epochs": 4}}')
    known = setting_types()
    if unknown := [name for name in found if name not in known]:
        raise UserError(
            f"{path} has unknown settings: {', '.join(unknown)}; known are {', '.join(known)}"
        )
    try:
        return {name: convert(name, value) for name, value in found.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_recipe(path: Path, config: FinetuneConfig) -> None:
    """Write all settings that may change the result, the data and its columns among them."""
    values = {
        name: value
        for name, value in flat_settings(config).items()
        if name not in LEFT_OUT and value is not None
    }
    write_text(path, json.dumps(values, indent=2) + "\n")
