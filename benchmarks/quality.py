"""Is what bertjax fine-tunes as good as what transformers' Trainer does, and what do both cost?

    python -m benchmarks.quality projects.csv --text title description --label tag [--quick]

The same checkpoint, splits and training rows. bertjax runs its default recipe; the Trainer first
chooses its learning rate and number of epochs from a grid by the mean weighted F1 on held-out rows
of a few seeds (which favours it: these rows are then scored too). Each training is the whole
program in a process of its own, from its imports to the model written; the two take turns.

Every training is a line of `results/quality.jsonl`. `--reuse-grid` takes the grid's trainings of
the same data, settings, versions and processor from there, so an interrupted benchmark goes on.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tyro.conf import Positional

from benchmarks.command import run_command
from benchmarks.machine import describe_machine, use_cores
from benchmarks.processes import require, run_child
from benchmarks.quality_table import OURS, THEIRS, best_cell, print_grid, print_seeds
from benchmarks.records import append_record, read_records
from bertjax.errors import UserError

QUICK_ROWS = 96
TEST_SIZE = 0.2  # the default of bertjax finetune
Record = dict[str, Any]


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
    grid_learning_rates: tuple[float, ...] = (5e-5, 1e-4, 2e-4)
    """The Trainer's grid."""
    grid_epochs: tuple[int, ...] = (4, 6)
    """The Trainer's grid."""
    batch_size: int = 32
    """The Trainer's texts a step; bertjax's default is 32 too."""
    threads: int = 2
    """Cores that each training may use."""
    reuse_grid: bool = False
    """Take the grid's trainings that results/quality.jsonl has already."""
    quick: bool = False
    """One seed, one epoch, a few rows: shows that the benchmark runs, and nothing else."""


@dataclass(frozen=True)
class Task:
    """What all trainings of a benchmark share."""

    settings: Record  # data, columns, checkpoint, threads: for a child
    facts: Record  # what a record says of every training
    name: str  # of the file of records
    folder: Path  # for the models
    batch_size: int
    quick: bool

    def ours(self, seed: int) -> Record:
        epochs = 1 if self.quick else None
        return self._run(OURS, "finetune_bertjax", "seed", {"seed": seed, "epochs": epochs})

    def theirs(self, seed: int, cell: tuple[float, int], part: str) -> Record:
        rate, epochs = cell
        recipe = {"learning_rate": rate, "epochs": epochs, "batch_size": self.batch_size}
        return self._run(THEIRS, "finetune_trainer", part, {"seed": seed, **recipe})

    def _run(self, who: str, module: str, part: str, recipe: Record) -> Record:
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            settings = {**self.settings, **recipe, "out": str(Path(out, "model"))}
            child = run_child(module, settings)
        cost = {"wall_s": child.wall_s, "peak_bytes": child.peak_bytes}
        record = {"benchmark": "quality", "part": part, "who": who, **recipe}
        record |= {**child.result, **cost, **self.facts}
        append_record(self.name, record)
        return record


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("quality", QualityConfig, run, arguments)


def run(config: QualityConfig) -> None:
    _check(config)
    require("torch", "accelerate")
    use_cores(config.threads)
    with tempfile.TemporaryDirectory(prefix="bertjax-quality-") as folder:
        task = _prepare(config, Path(folder))
        cells = [(rate, n) for rate in config.grid_learning_rates for n in config.grid_epochs]
        seeds, grid_seeds = range(config.seeds), range(config.grid_seeds)
        if config.quick:
            cells, seeds, grid_seeds = [(config.grid_learning_rates[-1], 1)], range(1), range(1)
        known = read_records(task.name) if config.reuse_grid else []
        grid = _run_grid(task, cells, grid_seeds, known)
        best = best_cell(grid)
        records = _run_seeds(task, seeds, best)
    print_grid(grid)
    print_seeds(records, best)
    machine = task.facts["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores; every training is in {task.name}.jsonl")


def _check(config: QualityConfig) -> None:
    for name in ("seeds", "grid_seeds", "batch_size", "threads"):
        if getattr(config, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be at least 1, found {getattr(config, name)}")
    if not config.grid_learning_rates or not config.grid_epochs:
        raise UserError("the Trainer's grid is empty: name a learning rate and a number of epochs")


def _prepare(config: QualityConfig, folder: Path) -> Task:
    """Read the table once, so that a mistake shows before the first training."""
    from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve
    from bertjax.data.sources import read_table

    table = read_table(config.data, config.text, config.label)
    data = str(Path(config.data).resolve()) if Path(config.data).exists() else config.data
    if config.quick:
        data = _few_rows(table.texts, table.labels or [], folder)
    settings = {
        "data": data,
        "text": ["text"] if config.quick else config.text,
        "label": "label" if config.quick else config.label,
        "checkpoint": str(resolve(DEFAULT_CHECKPOINT)),
        "threads": config.threads,
        "test_size": TEST_SIZE,
    }
    facts = {
        "checkpoint": DEFAULT_CHECKPOINT,
        "fingerprint": table.fingerprint,
        "threads": config.threads,
        "machine": describe_machine(),
    }
    name = "quality-quick" if config.quick else "quality"
    return Task(settings, facts, name, folder, config.batch_size, config.quick)


def _few_rows(texts: list[str], labels: list[str], folder: Path) -> str:
    """A table of `QUICK_ROWS` of the rows, or of all if there are fewer."""
    import pandas as pd

    from bertjax.data.splits import split_rows

    frame = pd.DataFrame({"text": texts, "label": labels})
    if len(frame) > QUICK_ROWS:
        frame = frame.iloc[split_rows(labels, QUICK_ROWS / len(frame), 0)[1]]
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    return str(path)


def _run_grid(
    task: Task, cells: list[tuple[float, int]], seeds: range, known: list[Record]
) -> list[Record]:
    """The Trainer on every cell and seed; those known already are not run again."""
    records = []
    for cell, seed in tqdm([(cell, seed) for cell in cells for seed in seeds], desc="grid"):
        found = find_known(known, task.facts, task.batch_size, cell, seed)
        records.append(found or task.theirs(seed, cell, "grid"))
    return records


def find_known(
    known: list[Record], facts: Record, batch_size: int, cell: tuple[float, int], seed: int
) -> Record | None:
    """The newest grid training of the same data, settings, versions and processor, if any."""

    def key(record: Record) -> tuple[Any, ...]:
        machine = record["machine"]
        shared = [record[name] for name in ("checkpoint", "fingerprint", "threads")]
        peers = [machine["versions"].get(name) for name in ("torch", "transformers", "accelerate")]
        return (*shared, *peers, machine["cpu"])

    for record in reversed(known):
        if record["part"] != "grid" or key(record) != key(facts):
            continue
        same_cell = (record["learning_rate"], record["epochs"]) == cell
        if same_cell and (record["batch_size"], record["seed"]) == (batch_size, seed):
            return record
    return None


def _run_seeds(task: Task, seeds: range, best: tuple[float, int]) -> list[Record]:
    """Both sides on every seed, taking turns at being first."""
    records = []
    for seed in tqdm(seeds, desc="seeds"):
        runs = [lambda s=seed: task.ours(s), lambda s=seed: task.theirs(s, best, "seed")]
        pair = [run() for run in (runs if seed % 2 == 0 else reversed(runs))]
        if len({(record["train_rows"], record["test_rows"]) for record in pair}) > 1:
            raise RuntimeError(f"the two sides had other rows with seed {seed}")
        records += pair
    return records


if __name__ == "__main__":
    sys.exit(main())
