"""Fine-tunings on one table, each the whole program in a process of its own, and their records."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.processes import PROCESSOR, run_child
from benchmarks.records import append_record
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve

QUICK_ROWS = 96
TEST_SIZE = 0.2  # the default of bertjax finetune
Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What all trainings of a benchmark share."""

    benchmark: str
    settings: Record  # data, columns, checkpoint, threads, precision: for a child
    facts: Record  # what a record says of every training
    folder: Path  # for the models
    quick: bool

    @property
    def name(self) -> str:
        """Of the file of records."""
        return f"{self.benchmark}-quick" if self.quick else self.benchmark

    def train(
        self,
        who: str,
        module: str,
        recipe: Record,
        facts: Record | None = None,
        compiled: Path | None = None,
    ) -> Record:
        """Run a program of `benchmarks.children` from its start to its exit, and keep the record.

        Args:
            recipe: settings of this training alone, which the record says too.
            facts: what the record says besides.
            compiled: the folder of JAX's compiled programs; by default an empty one.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            settings = {**self.settings, **recipe, "out": str(Path(scratch, "model"))}
            cache = compiled or Path(scratch, "compiled")
            environment = PROCESSOR | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
            child = run_child(module, settings, environment)
        record = {"benchmark": self.benchmark, "who": who, **(facts or {}), **recipe}
        record |= {**child.result, "wall_s": child.wall_s, "peak_bytes": child.peak_bytes}
        record |= {"others_cores": round(child.others_cores, 2), **self.facts}
        append_record(self.name, record)
        return record

    def peak(self, engine: str) -> Record:
        """What the share of the peak follows from, measured now: of `OURS` or `torch`.

        Multiplications and additions: of a token of the table in a training step, and a second.
        """
        return run_child("table_peak", {**self.settings, "engine": engine}, PROCESSOR).result


def prepare(
    benchmark: str,
    data: str,
    text: Sequence[str],
    label: str,
    threads: int,
    quick: bool,
    folder: Path,
) -> Task:
    """Read the table once, so that a mistake shows before the first training.

    Raises:
        UserError: the table cannot be read, or has other columns.
    """
    from bertjax.data.sources import SAMPLE, read_table

    table = read_table(data, text, label)
    columns = {"text": list(text), "label": label}
    place = str(Path(data).resolve()) if Path(data).exists() else data
    if quick or not (Path(data).exists() or data == SAMPLE):  # else each training would fetch it
        columns = {"text": ["text"], "label": "label"}
        place = write_rows(table.texts, table.labels or [], folder, QUICK_ROWS if quick else None)
    precision = run_child("auto_precision", {}, PROCESSOR).result["precision"]
    settings = {
        "data": place,
        **columns,
        "checkpoint": str(resolve(DEFAULT_CHECKPOINT)),
        "threads": threads,
        "precision": precision,
        "test_size": TEST_SIZE,
    }
    facts = {
        "checkpoint": DEFAULT_CHECKPOINT,
        "fingerprint": table.fingerprint,
        "threads": threads,
        "precision": precision,
        "machine": describe_machine(),
    }
    return Task(benchmark, settings, facts, folder, quick)


def write_rows(texts: list[str], labels: list[str], folder: Path, most: int | None = None) -> str:
    """A table of the rows, of `most` of them if there are more."""
    import pandas as pd

    from bertjax.data.splits import split_rows

    frame = pd.DataFrame({"text": texts, "label": labels})
    if most and len(frame) > most:
        frame = frame.iloc[split_rows(labels, most / len(frame), 0)[1]]
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    return str(path)


def check_same_data(records: Sequence[Record]) -> None:
    """RuntimeError unless all trained and were scored on as many rows, of as many tokens."""
    keys = ("train_rows", "test_rows", "train_tokens")
    found = {tuple(record[key] for key in keys) for record in records}
    if len(found) > 1:
        raise RuntimeError(f"the sides had other rows or tokens with one seed: {sorted(found)}")
