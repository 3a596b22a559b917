"""What does it cost to track a fine-tuning with MLflow?

    python -m benchmarks.tracking projects.csv --text title description --label tag [--quick]

`bertjax finetune` as it is typed, with `--no-track` and with a store that is a file, as it is by
default: whole processes that find their programs compiled and the store's tables made, as all but a
user's first run do. Both run on every seed, and take turns at being first.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm
from tyro.conf import Positional

from benchmarks.command import check_counts, run_command
from benchmarks.machine import use_cores
from benchmarks.processes import require
from benchmarks.records import print_table
from benchmarks.speed import median_of, tell_disturbed
from benchmarks.trainings import Record, Task, check_same_data, prepare

UNTRACKED, TRACKED, FIRST = "untracked", "tracked", "tracked, first run"


@dataclass(frozen=True)
class TrackingConfig:
    """Time of a fine-tuning with and without tracking."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text."""
    label: str = "label"
    """Column that holds the class."""
    seeds: int = 5
    """Trainings of each side."""
    threads: int = 2
    """Cores that each training may use."""
    quick: bool = False
    """One seed, one epoch, a few rows: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("tracking", TrackingConfig, run, arguments)


def run(config: TrackingConfig) -> None:
    check_counts(config, "seeds", "threads")
    require("mlflow")
    use_cores(config.threads)
    seeds = range(1 if config.quick else config.seeds)
    with tempfile.TemporaryDirectory(prefix="bertjax-tracking-") as folder:
        table = (config.data, config.text, config.label)
        task = prepare("tracking", *table, config.threads, config.quick, Path(folder))
        store = f"sqlite:///{folder}/mlflow.db"
        task = replace(task, settings={**task.settings, "store": store})
        records = _run_seeds(task, seeds, Path(folder, "compiled"))
    print_table(
        f"`bertjax finetune`, {records[0]['train_rows']} texts, medians of {len(seeds)} seeds",
        ("", "whole process", "more", "training", "more"),
        rows_of(records),
    )
    tell_disturbed(records)


def _run_seeds(task: Task, seeds: range, compiled: Path) -> list[Record]:
    """Both sides on every seed, after a run that leaves compiled programs and a store."""
    epochs = 1 if task.quick else None

    def train(who: str, seed: int) -> Record:
        recipe = {"seed": seed, "epochs": epochs, "tracked": who != UNTRACKED}
        return task.train(who, "finetune_bertjax", recipe, compiled=compiled)

    records = []
    train(FIRST, seeds[0])
    for seed in tqdm(seeds, desc="tracking", unit="seed"):
        turn = [train(who, seed) for who in ((UNTRACKED, TRACKED), (TRACKED, UNTRACKED))[seed % 2]]
        check_same_data(turn)
        records += turn
    return records


def rows_of(records: Sequence[Record]) -> list[list[str]]:
    """A row a side: seconds of the process and of the training; how much more than untracked."""
    sides = {who: [r for r in records if r["who"] == who] for who in (UNTRACKED, TRACKED)}
    rows = []
    for who, own in sides.items():
        row = [who]
        for key in ("wall_s", "train_s"):
            seconds, without = median_of(own, key), median_of(sides[UNTRACKED], key)
            row += [f"{seconds:.2f} s", f"{seconds / without - 1:+.1%}" if who == TRACKED else ""]
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
