"""Where a run was made: the user's commit, the machine, the packages."""

import getpass
import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata


def source_tags() -> dict[str, str]:
    """Of who ran what where, by the names that MLflow's page shows; a commit only if there is one.

    The commit is that of the folder in which the command was started.
    """
    tags = {
        "mlflow.source.name": "bertjax",
        "mlflow.source.type": "LOCAL",
        "machine": f"{platform.node()}, {platform.platform()}, {os.cpu_count()} cores",
        "folder": os.getcwd(),
    }
    with suppress(KeyError, OSError):  # a container's user without a name
        tags["mlflow.user"] = getpass.getuser()
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["git.uncommitted_changes"] = "yes" if _git("status", "--porcelain", "-uno") else "no"
    return tags


@cache
def packages() -> str:
    """Every installed package with its version, a line each."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()}
    lines = [f"python=={platform.python_version()}", *sorted(found, key=str.lower)]
    return "\n".join(lines) + "\n"


def _git(*arguments: str) -> str:
    """What git prints; "" if there is no git, no repository, or no commit."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
