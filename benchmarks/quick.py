"""Does every benchmark still run?

    python -m benchmarks.quick [--only loading inference]

Each runs with `--quick` in a process of its own and writes into a temporary folder; a line each
says whether all that it is to write is there. Exit status 2: one failed. Figures mean nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.command import run_command
from benchmarks.processes import ROOT
from benchmarks.records import PLACE, read_records
from bertjax.errors import UserError

_TABLE = ("sample", "--text", "title", "description", "--label", "tag")


class Quick(NamedTuple):
    arguments: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()  # names of files, up to `-quick.png`


BENCHMARKS = {
    "loading": Quick(charts=("loading",)),
    "training": Quick(charts=("training-default",)),
    "step_memory": Quick(charts=("step_memory",)),
    "growth": Quick(charts=("growth",)),
    "inference": Quick(charts=("inference-forward", "inference-texts", "inference-one-text")),
    "quality": Quick(_TABLE, ("quality",)),
    "finetune": Quick(_TABLE, ("finetune",)),
    "tracking": Quick(_TABLE),
    "serving": Quick(),
    "scaling": Quick(),
    "soak": Quick(),
}


@dataclass(frozen=True)
class QuickConfig:
    """Whether every benchmark runs and writes what it is to write."""

    only: tuple[str, ...] = tuple(BENCHMARKS)
    """Names of benchmarks."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("quick", QuickConfig, run, arguments)


def run(config: QuickConfig) -> None:
    if unknown := [name for name in config.only if name not in BENCHMARKS]:
        raise UserError(
            f"there is no benchmark {unknown[0]!r}: name some of {', '.join(BENCHMARKS)}"
        )
    failed = []
    for name in config.only:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="bertjax-quick-") as folder:
            wrong = attempt(name, Path(folder))
        print(f"{name}: {wrong or 'well'}, {time.perf_counter() - began:.0f} s", flush=True)
        failed += [name] if wrong else []
    if failed:
        raise UserError(f"failed: {', '.join(failed)}")


def attempt(name: str, folder: Path) -> str:
    """Run a benchmark, whose results go to `folder`. What is wrong; empty if nothing is."""
    quick = BENCHMARKS[name]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *quick.arguments, "--quick"],
        cwd=ROOT,
        env=os.environ | {PLACE: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or [""]
        return f"status {done.returncode}: {lines[-1]}"
    return missing(name, folder)


def missing(name: str, folder: Path) -> str:
    """What a benchmark did not write: a record with device and machine, or a chart."""
    records = read_records(f"{name}-quick", folder)
    if not records:
        return "no records"
    if any("device" not in record or "machine" not in record for record in records):
        return "a record without device or machine"
    absent = [c for c in BENCHMARKS[name].charts if not (folder / f"{c}-quick.png").exists()]
    return f"no chart {', '.join(absent)}" if absent else ""


if __name__ == "__main__":
    sys.exit(main())
