"""A benchmark as a command: flags from its settings, and one line for a mistake of the user's."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from bertjax.cli import STYLE
from bertjax.errors import UserError

Config = TypeVar("Config")


def run_command(
    name: str, kind: type[Config], run: Callable[[Config], None], arguments: Sequence[str] | None
) -> int:
    """Run `benchmarks.NAME`. Exit status: 0 done; 2 a mistake, told in one line."""
    config = tyro.cli(kind, prog=f"python -m benchmarks.{name}", args=arguments, config=STYLE)
    try:
        run(config)
    except UserError as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        return 2
    return 0
