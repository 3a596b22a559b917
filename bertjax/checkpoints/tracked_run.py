"""Which run of MLflow has written a run folder: told by a small file beside the checkpoint."""

import json
import re
from pathlib import Path

NAME = "mlflow.json"
_IN_STORE = "MLmodel"  # what MLflow lays beside a run folder that is in its store
_RUN_ID = re.compile(r"^run_id: *'?(\w{1,64})'?\s*$", re.MULTILINE)


def write_run_id(folder: Path, run_id: str) -> None:
    """Note the run in its folder. The folder's model stays the same one: its id, too."""
    (folder / NAME).write_text(json.dumps({"run_id": run_id}) + "\n", encoding="utf-8")


def read_run_id(folder: Path) -> str | None:
    """MLflow's id of the run that wrote a folder, here or in the store; None where none is told."""
    if (path := folder / NAME).is_file():
        return _noted(path)
    if (path := folder / _IN_STORE).is_file():
        found = _RUN_ID.search(path.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else None
    return None


def _noted(path: Path) -> str | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["run_id"]
    except (ValueError, KeyError, TypeError):
        return None  # nothing depends on it
    return found if isinstance(found, str) else None
