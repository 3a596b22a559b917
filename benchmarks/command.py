"""A benchmark as a command: flags from its settings, and one line for a mistake of the user's."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from benchmarks.processes import ProgramError
from bertjax.cli import STYLE
from bertjax.errors import UserError

Config = TypeVar("Config")


def run_command(
    name: str,
    kind: type[Config],
    run: Callable[[Config], int | None],
    arguments: Sequence[str] | None,
) -> int:
    """Run `benchmarks.NAME`.

    Exit status: `run`'s, or 0; 2 a mistake or a failed program, told in one line.
    """
    config = tyro.cli(kind, prog=f"python -m benchmarks.{name}", args=arguments, config=STYLE)
    try:
        return run(config) or 0
    except (UserError, ProgramError) as error:
        line = error.line if isinstance(error, ProgramError) else error
        print(f"benchmarks.{name}: {line}", file=sys.stderr)
        return 2


def check_counts(config: Any, *names: str) -> None:
    """UserError if one of these settings is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be at least 1, found {getattr(config, name)}")
