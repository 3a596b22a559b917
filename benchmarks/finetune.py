"""How long does it take from a table to a score, beside transformers' Trainer?

    python -m benchmarks.finetune projects.csv --text title description --label tag [--quick]

Each side is a whole program in a process of its own, from its start to the written model, on the
same checkpoint, splits and rows. bertjax runs as `bertjax finetune` is typed: first with an empty
folder of compiled programs, then once more with what the first run left there. The Trainer pads
each batch to its longest text, with batches drawn at random and with texts grouped by length. All
of them run on every seed, and take turns at being first.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tyro.conf import Positional

from benchmarks.charts import Panel, draw, panel_of
from benchmarks.command import check_counts, run_command
from benchmarks.finetune_table import FIRST, GROUPED, PADDED, SECOND, by_who, print_sides
from benchmarks.machine import use_cores
from benchmarks.processes import require
from benchmarks.speed import OURS, median_of, tell_disturbed
from benchmarks.trainings import Record, Task, check_same_data, prepare
from bertjax.errors import UserError

SAMPLING = {PADDED: "random", GROUPED: "group_by_length"}


@dataclass(frozen=True)
class FinetuneConfig:
    """Time and memory from a table to a score, beside transformers' Trainer."""

    data: Positional[str]
    """A .csv, .tsv, .jsonl or .parquet file, a URL of one, a Hub dataset, or `sample`."""
    text: tuple[str, ...] = ("text",)
    """Columns that hold the text."""
    label: str = "label"
    """Column that holds the class."""
    seeds: int = 5
    """Trainings of each side: seeds 0, 1, ... of split, head, order and dropout."""
    learning_rate: float = 4e-4
    """The Trainer's; by default the best of its grid in benchmarks.quality."""
    epochs: int = 3
    """The Trainer's; bertjax takes its own default."""
    batch_size: int = 32
    """The Trainer's texts a step; bertjax's default is 32 too."""
    threads: int = 2
    """Cores that each training may use."""
    quick: bool = False
    """One seed, one epoch, a few rows: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("finetune", FinetuneConfig, run, arguments)


def run(config: FinetuneConfig) -> None:
    _check(config)
    require("torch", "accelerate")
    use_cores(config.threads)
    seeds = range(1 if config.quick else config.seeds)
    with tempfile.TemporaryDirectory(prefix="bertjax-finetune-") as folder:
        table = (config.data, config.text, config.label)
        task = prepare("finetune", *table, config.threads, config.quick, Path(folder))
        records = _run_seeds(task, config, seeds)
    texts = f"{records[0]['train_rows']} texts to train on, {task.facts['precision']}"
    print_sides(f"Fine-tuning, from the start of the process to the model: {texts}", records)
    tell_disturbed(records)
    machine = task.facts["machine"]
    note = f"{machine['cpu']}, {machine['cores']} cores; medians of {len(seeds)} seeds"
    title = "From table to model: shorter is faster"
    path = draw(task.name, title, [wall_panel(texts, records)], note)
    print(note, f"every training is in {task.name}.jsonl", sep="; ")
    if path:
        print(f"chart: {path}")


def _check(config: FinetuneConfig) -> None:
    check_counts(config, "seeds", "epochs", "batch_size", "threads")
    if not config.learning_rate > 0:
        raise UserError(f"--learning-rate must be above 0, found {config.learning_rate}")


def _run_seeds(task: Task, config: FinetuneConfig, seeds: range) -> list[Record]:
    """All sides on every seed, after the peak of each library; another side begins each seed."""
    records = []
    for seed in tqdm(seeds, desc="finetune", unit="seed"):
        ours, theirs = task.peak(OURS), task.peak("torch")
        sides = [
            lambda s=seed, peak=ours: _ours(task, s, peak),
            lambda s=seed, peak=theirs: [_theirs(task, config, PADDED, s, peak)],
            lambda s=seed, peak=theirs: [_theirs(task, config, GROUPED, s, peak)],
        ]
        first = seed % len(sides)
        turn = [record for side in (*sides[first:], *sides[:first]) for record in side()]
        check_same_data(turn)
        records += turn
    return records


def _ours(task: Task, seed: int, peak: Record) -> list[Record]:
    """A first run, which compiles, and a second, which finds what the first has compiled."""
    recipe = {"seed": seed, "epochs": 1 if task.quick else None}
    with tempfile.TemporaryDirectory(dir=task.folder) as compiled:
        return [
            task.train(who, "finetune_bertjax", recipe, peak, Path(compiled))
            for who in (FIRST, SECOND)
        ]


def _theirs(task: Task, config: FinetuneConfig, who: str, seed: int, peak: Record) -> Record:
    recipe = {
        "seed": seed,
        "learning_rate": config.learning_rate,
        "epochs": 1 if task.quick else config.epochs,
        "batch_size": config.batch_size,
        "sampling": SAMPLING[who],
    }
    return task.train(who, "finetune_trainer", recipe, peak)


def wall_panel(title: str, records: Sequence[Record]) -> Panel:
    """A bar a side: the median of the whole process's seconds."""
    seconds = {who: median_of(own, "wall_s") for who, own in by_who(records).items()}
    return panel_of(title, seconds, ours=(FIRST, SECOND))


if __name__ == "__main__":
    sys.exit(main())
