"""What do more processes bring, and what do they cost?

    python -m benchmarks.scaling [--rows 200000] [--repeats 3] [--quick]

Through Ray, on this machine: a table of synthetic texts (of 120 tokens on average) is read,
tokenized, split, planned and iterated with 1 and with 2 workers, and with a tenth of its rows; then
a MiniLM is fine-tuned on some of it by 1 and by 2 processes that train one model. Workers share
this machine's cores, so 2 processes that train are no faster than 1 here: what they show is what
joining them costs. The sum of a gradient over two processes is timed by itself.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.command import check_counts, run_command
from benchmarks.machine import cpu_model, describe_machine, usable_cores
from benchmarks.processes import PROCESSOR, require, run_child
from benchmarks.records import append_record, megabytes, print_table, ratio
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT
from bertjax.errors import UserError

Record = dict[str, Any]

Part = Literal["ingestion", "training"]

TOKENS = 120  # of a text, on average
GRADIENT = 22_713_216  # entries of a MiniLM's, all words among them


@dataclass(frozen=True)
class ScalingConfig:
    """Ingestion and training through Ray on 1 and on 2 processes."""

    parts: tuple[Part, ...] = ("ingestion", "training")
    """What to measure."""
    rows: int = 200_000
    """Of the table that is read; a tenth of it is read too."""
    train_rows: int = 1000
    """Of the table that is trained on, four fifths of it, once."""
    repeats: int = 3
    """Trainings of each number of processes, which take turns; the table shows medians."""
    object_store_mb: int = 1024
    """Shared memory that Ray may use."""
    workers: tuple[int, ...] = (1, 2)
    """Processes that tokenize, and that train."""
    quick: bool = False
    """Few rows: shows that it runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("scaling", ScalingConfig, run, arguments)


def run(config: ScalingConfig) -> None:
    check_counts(config, "rows", "train_rows", "repeats", "object_store_mb")
    if not config.workers or min(config.workers) < 1:
        found = ", ".join(map(str, config.workers)) or "none"
        raise UserError(f"--workers must be 1 or more each, found {found}")
    require("ray")
    if config.quick:
        config = replace(config, rows=400, train_rows=500, repeats=1, workers=config.workers[:1])
    with tempfile.TemporaryDirectory(prefix="bertjax-scaling-") as name:
        bench = _Bench(config, Path(name))
        if "ingestion" in config.parts:
            _show_ingestion(bench)
        if "training" in config.parts:
            _show_training(bench)
    print(f"{cpu_model()}, {usable_cores()} cores; of ingestion one run each")


def _show_ingestion(bench: "_Bench") -> None:
    records = [bench.ingest(rows, workers) for rows, workers in _ingestions(bench.config)]
    print_table(
        f"Ingestion, texts of {TOKENS} tokens",
        ("", "read, tokenized, split", "/ 1", "planned", "iterated", "driver", "worker", "its own"),
        ingestion_rows(records),
    )


def _show_training(bench: "_Bench") -> None:
    config = bench.config
    records = [bench.train(workers) for _ in range(config.repeats) for workers in config.workers]
    print_table(
        "Training a MiniLM",
        ("", "first step after", "tokens / s", "/ 1", "waiting for input"),
        training_rows(records),
    )
    reduction = bench.reduce()
    print(
        f"the sum of a gradient of {megabytes(reduction['bytes'])} over two processes takes "
        f"{reduction['call_s'] * 1e3:,.0f} ms"
    )


def _ingestions(config: ScalingConfig) -> list[tuple[int, int]]:
    most = config.workers[-1]
    return [(config.rows // 10, most), *((config.rows, workers) for workers in config.workers)]


class _Bench:
    """Runs the parts on tables that it makes when they are asked for."""

    def __init__(self, config: ScalingConfig, folder: Path):
        self.config = config
        self.folder = folder
        self.name = "scaling-quick" if config.quick else "scaling"

    def ingest(self, rows: int, workers: int) -> Record:
        settings = {
            "table": self._table(rows),
            "cores": workers,
            "object_store_bytes": self.config.object_store_mb * 2**20,
            "folder": str(self.folder),
        }
        return self._run("ingest_ray", {"part": "ingestion", "workers": workers}, settings)

    def train(self, workers: int) -> Record:
        settings = {
            "table": self._table(self.config.train_rows),
            "checkpoint": DEFAULT_CHECKPOINT,
            "precision": "auto",
            "workers": workers,
            "folder": str(self.folder),
        }
        return self._run("finetune_ray", {"part": "training", "workers": workers}, settings)

    def reduce(self) -> Record:
        entries = GRADIENT // 100 if self.config.quick else GRADIENT
        return self._run("all_reduce", {"part": "all-reduce", "workers": 2}, {"entries": entries})

    def _table(self, rows: int) -> str:
        path = self.folder / f"table-{rows}"
        if not path.exists():
            settings = {"folder": str(path), "rows": rows, "tokens": TOKENS}
            run_child("make_table", settings, PROCESSOR)
        return str(path)

    def _run(self, child: str, facts: Record, settings: Record) -> Record:
        found = run_child(child, settings, PROCESSOR)
        record = {
            "benchmark": "scaling",
            **facts,
            "device": "cpu",
            "tokens_a_text": TOKENS,
            "object_store_mb": self.config.object_store_mb,
            **found.result,
            "wall_s": found.wall_s,
            "others_cores": round(found.others_cores, 2),
        }
        append_record(self.name, {**record, "machine": describe_machine()})
        return record


def ingestion_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a run: rows a second of each stage, and the peak memory of the processes.

    That of the worker with the most is given with the object store's pages, and without.
    """
    whole = next(r for r in records if r["rows"] == max(r["rows"] for r in records))
    alone = whole["rows"] / whole["ingest_s"]
    rows = []
    for r in records:
        rate = r["rows"] / r["ingest_s"]
        noun = "worker" if r["workers"] == 1 else "workers"
        rows.append(
            [
                f"{r['rows']:,} rows, {r['workers']} {noun}",
                f"{rate:,.0f} rows/s",
                ratio(rate, alone),
                f"{r['train_rows'] / r['plan_s']:,.0f} rows/s",
                f"{r['train_rows'] / r['iterate_s']:,.0f} rows/s",
                megabytes(r["driver_peak_bytes"]),
                megabytes(r["worker_peak_bytes"]),
                megabytes(r["worker_own_peak_bytes"]),
            ]
        )
    return rows


def training_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row for each number of processes: from the start of the program to the first step, and the
    rate after it."""
    rows, alone = [], 0.0
    for workers in dict.fromkeys(r["workers"] for r in records):
        runs = [r for r in records if r["workers"] == workers]
        first_step, rate, wait = (
            statistics.median(r[name] for r in runs)
            for name in ("first_step_s", "tokens_s", "input_wait_share")
        )
        alone = alone or rate
        noun = "process" if workers == 1 else "processes"
        figures = [f"{first_step:.1f} s", f"{rate:,.0f}", ratio(rate, alone), f"{wait:.2%}"]
        rows.append([f"{workers} {noun}", *figures])
    return rows


if __name__ == "__main__":
    sys.exit(main())
