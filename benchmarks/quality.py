"""Is what bertjax fine-tunes as good as what transformers' Trainer does, and what do both cost?

    python -m benchmarks.quality projects.csv --text title description --label tag [--quick]

The same checkpoint, splits and training rows. bertjax runs its default recipe; the Trainer first
chooses its learning rate and number of epochs from a grid by the mean weighted F1 on held-out rows
of a few seeds (which favours it: these rows are then scored too). Each training is the whole
program in a process of its own, from its imports to the model written; the two take turns.

Every training is a line of `results/quality.jsonl`. `--reuse-grid` takes the grid's trainings of
the same data, settings, versions and processor from there, so an interrupted benchmark goes on.
"""

import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tyro.conf import Positional

from benchmarks.charts import draw
from benchmarks.command import check_counts, run_command
from benchmarks.machine import use_cores
from benchmarks.processes import require
from benchmarks.quality_table import OURS, THEIRS, best_cell, cost_panels, print_grid, print_seeds
from benchmarks.records import read_records
from benchmarks.speed import tell_disturbed
from benchmarks.trainings import Record, Task, check_same_data, prepare
from bertjax.errors import UserError


@dataclass(frozen=True)
class QualityConfig:
    """Weighted F1 and cost of fine-tuning, beside transformers' Trainer."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text."""
    label: str = "label"
    """Column that holds the class."""
    seeds: int = 5
    """Trainings of each side: seeds 0, 1, ... of split, head, order and dropout."""
    grid_seeds: int = 2
    """Seeds by whose mean the Trainer's settings are chosen."""
    grid_learning_rates: tuple[float, ...] = (5e-5, 1e-4, 2e-4, 3e-4, 4e-4)
    """The Trainer's grid."""
    grid_epochs: tuple[int, ...] = (2, 3, 4, 6)
    """The Trainer's grid."""
    batch_size: int = 32
    """The Trainer's texts a step; bertjax's default is 32 too."""
    threads: int = 2
    """Cores that each training may use."""
    reuse_grid: bool = False
    """Take the grid's trainings that results/quality.jsonl has already."""
    quick: bool = False
    """One seed, one epoch, a few rows: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("quality", QualityConfig, run, arguments)


def run(config: QualityConfig) -> None:
    _check(config)
    require("torch", "accelerate")
    use_cores(config.threads)
    with tempfile.TemporaryDirectory(prefix="bertjax-quality-") as folder:
        table = (config.data, config.text, config.label)
        task = prepare("quality", *table, config.threads, config.quick, Path(folder))
        cells = [(rate, n) for rate in config.grid_learning_rates for n in config.grid_epochs]
        seeds, grid_seeds = range(config.seeds), range(config.grid_seeds)
        if config.quick:
            cells, seeds, grid_seeds = [(config.grid_learning_rates[-1], 1)], range(1), range(1)
        known = read_records(task.name) if config.reuse_grid else []
        grid = _run_grid(task, cells, grid_seeds, config.batch_size, known)
        best = best_cell(grid)
        records = _run_seeds(task, seeds, config.batch_size, best)
    print_grid(grid)
    print_seeds(records, best)
    tell_disturbed(records)
    machine = task.facts["machine"]
    note = f"{machine['cpu']}, {machine['cores']} cores; medians of {len(seeds)} seeds"
    print(note, f"every training is in {task.name}.jsonl", sep="; ")
    title = "The cost of a fine-tuning: less is better"
    if chart := draw(task.name, title, cost_panels(records), note):
        print(f"chart: {chart}")


def _check(config: QualityConfig) -> None:
    check_counts(config, "seeds", "grid_seeds", "batch_size", "threads")
    if not config.grid_learning_rates or not config.grid_epochs:
        raise UserError("the Trainer's grid is empty: name a learning rate and a number of epochs")
    if not all(0 < rate < math.inf for rate in config.grid_learning_rates):
        raise UserError(
            f"--grid-learning-rates must be above 0 each, found {config.grid_learning_rates}"
        )
    if min(config.grid_epochs) < 1:
        raise UserError(f"--grid-epochs must be 1 or more each, found {config.grid_epochs}")


def _run_grid(
    task: Task, cells: list[tuple[float, int]], seeds: range, batch_size: int, known: list[Record]
) -> list[Record]:
    """The Trainer on every cell and seed; those known already are not run again."""
    records = []
    for cell, seed in tqdm([(cell, seed) for cell in cells for seed in seeds], desc="grid"):
        found = find_known(known, task.facts, batch_size, cell, seed)
        records.append(found or _theirs(task, seed, batch_size, cell, "grid"))
    return records


def find_known(
    known: list[Record], facts: Record, batch_size: int, cell: tuple[float, int], seed: int
) -> Record | None:
    """The newest grid training of the same data, settings, versions and hardware, if any."""

    def key(record: Record) -> tuple[Any, ...]:
        machine = record["machine"]
        shared = [record[name] for name in ("checkpoint", "fingerprint", "threads")]
        peers = [machine["versions"].get(name) for name in ("torch", "transformers", "accelerate")]
        # Records that do not tell the precision are of bfloat16.
        return (*shared, *peers, machine["cpu"], record.get("precision", "bfloat16"))

    for record in reversed(known):
        if record["part"] != "grid" or key(record) != key(facts):
            continue
        same_cell = (record["learning_rate"], record["epochs"]) == cell
        if same_cell and (record["batch_size"], record["seed"]) == (batch_size, seed):
            return record
    return None


def _run_seeds(task: Task, seeds: range, batch_size: int, best: tuple[float, int]) -> list[Record]:
    """Both sides on every seed, taking turns at being first."""
    records = []
    for seed in tqdm(seeds, desc="seeds"):
        runs = [
            lambda s=seed: _ours(task, s),
            lambda s=seed: _theirs(task, s, batch_size, best, "seed"),
        ]
        pair = [run() for run in (runs if seed % 2 == 0 else reversed(runs))]
        check_same_data(pair)
        records += pair
    return records


def _ours(task: Task, seed: int) -> Record:
    recipe = {"seed": seed, "epochs": 1 if task.quick else None}
    return task.train(OURS, "finetune_bertjax", recipe, {"part": "seed"})


def _theirs(task: Task, seed: int, batch_size: int, cell: tuple[float, int], part: str) -> Record:
    rate, epochs = cell
    recipe = {"seed": seed, "learning_rate": rate, "epochs": epochs, "batch_size": batch_size}
    recipe["sampling"] = "random"
    return task.train(THEIRS, "finetune_trainer", recipe, {"part": part})


if __name__ == "__main__":
    sys.exit(main())
