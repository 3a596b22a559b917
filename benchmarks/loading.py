"""How long does loading a checkpoint take, and how much memory, beside transformers?

    python -m benchmarks.loading [--quick]

A BERT-base text classifier with random weights (a safetensors file of 438 MB) is loaded from the
page cache, each time in a new process, by one library after the other. Times begin after all
imports. transformers maps the file and reads a weight when it is first used, so the time until all
weights have been read once, and the memory then, are what compares; the bare load is shown too.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from benchmarks.charts import Panel, draw, panel_of, sizes
from benchmarks.command import check_counts, run_command
from benchmarks.machine import describe_machine
from benchmarks.processes import PROCESSOR, require, run_child
from benchmarks.records import append_record, megabytes, print_table, ratio
from benchmarks.shapes import SIZES
from benchmarks.speed import OURS, median_of, tell_disturbed

LOADERS = {"bertjax": "load_bertjax", "transformers": "load_transformers"}


@dataclass(frozen=True)
class LoadingConfig:
    """Time and memory of loading a BERT-base, beside transformers."""

    repeats: int = 9
    """Loads a library; the median counts."""
    quick: bool = False
    """A small model and two loads: shows that the benchmark runs, and nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("loading", LoadingConfig, run, arguments)


def run(config: LoadingConfig) -> None:
    check_counts(config, "repeats")
    require("torch")
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="bertjax-loading-") as folder:
        settings = {"folder": folder, "sizes": asdict(SIZES["tiny" if config.quick else "base"])}
        file_bytes = run_child("make_random", settings, PROCESSOR).result["file_bytes"]
        runs = _measure(folder, 2 if config.quick else config.repeats)
    _check_equal_sums(runs)
    tell_disturbed([result for results in runs.values() for result in results])
    name = "loading-quick" if config.quick else "loading"
    for who, results in runs.items():
        for result in results:
            record = {"benchmark": "loading", "who": who, "file_bytes": file_bytes, **result}
            path = append_record(name, record | {"machine": machine})
    title = f"Loading a checkpoint of {megabytes(file_bytes)}, medians of {len(runs['bertjax'])}"
    print_table(title, ("", *runs, "ratio"), table_rows(runs, file_bytes))
    note = f"{machine['cpu']}, {machine['cores']} cores; medians of {len(runs['bertjax'])} loads"
    print(note, f"every load is in {path}", sep="; ")
    if chart := draw(name, f"Loading {megabytes(file_bytes)}: less is better", panels(runs), note):
        print(f"chart: {chart}")


def _measure(folder: str, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """The results of each library, one after the other, taking turns at being first."""
    runs: dict[str, list[dict[str, Any]]] = {who: [] for who in LOADERS}
    for turn in tqdm(range(repeats), desc="loading", unit="pair"):
        for who in list(LOADERS) if turn % 2 == 0 else reversed(LOADERS):
            child = run_child(LOADERS[who], {"folder": folder}, PROCESSOR)
            runs[who].append({**child.result, "others_cores": round(child.others_cores, 2)})
    return runs


def _check_equal_sums(runs: dict[str, list[dict[str, Any]]]) -> None:
    """RuntimeError if the libraries did not load the same numbers."""
    sums = [result["sum"] for results in runs.values() for result in results]
    if max(sums) - min(sums) > 1e-3 * max(map(abs, sums)):
        raise RuntimeError(f"the weights that were loaded differ: their sums are {sorted(sums)}")


def panels(runs: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """A bar a library: the time until all is read, and the memory that it takes."""

    def medians(key: str) -> dict[str, float]:
        return {who: median_of(results, key) for who, results in runs.items()}

    return [
        panel_of("time until every weight is read", medians("load_and_read_s"), (OURS,)),
        panel_of("extra peak memory", medians("extra_peak_bytes"), (OURS,), sizes),
    ]


def table_rows(runs: dict[str, list[dict[str, Any]]], file_bytes: int) -> list[list[str]]:
    """A row a figure: the median of each library, and ours / theirs."""

    def median(who: str, key: str) -> float:
        return median_of(runs[who], key)

    rows = []
    for label, key in (
        ("load", "load_s"),
        ("load, every weight read once", "load_and_read_s"),
        ("the same, time of the processor", "load_and_read_cpu_s"),
    ):
        values = [median(who, key) for who in runs]
        rows.append([label, *(f"{value:.3f} s" for value in values), ratio(*values)])
    memory = [median(who, "extra_peak_bytes") for who in runs]
    rows.append(["extra peak memory", *map(megabytes, memory), ratio(*memory)])
    shares = [f"{value / file_bytes:.2f}" for value in memory]
    rows.append(["extra peak memory / file", *shares, ""])
    return rows


if __name__ == "__main__":
    sys.exit(main())
