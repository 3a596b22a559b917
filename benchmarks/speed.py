"""What the benchmarks of speed share: sides that take turns, medians, ratios, records."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from benchmarks.machine import describe_machine
from benchmarks.processes import run_child
from benchmarks.records import append_record, megabytes, print_table, ratio
from benchmarks.shapes import Shape

Record = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of those that are compared: a program of `benchmarks.children`, and its settings."""

    name: str
    child: str
    settings: Record


def measure(
    benchmark: str,
    shape: Shape,
    sides: Sequence[Side],
    shared: Record,
    rounds: int,
    environment: dict[str, str],
    quick: bool,
) -> list[Record]:
    """Run every side in a process of its own, all of them `rounds` times, and keep the records."""
    records = []
    machine = describe_machine()
    name = f"{benchmark}-quick" if quick else benchmark
    turns = [side for turn in range(rounds) for side in (sides if turn % 2 == 0 else sides[::-1])]
    for side in tqdm(turns, desc=str(shape)):
        settings = {**shared, **shape.settings(), **side.settings}
        result = run_child(side.child, settings, environment).result
        facts = {"benchmark": benchmark, "who": side.name, "shape": str(shape)}
        record = {**facts, **shared, "environment": environment, **result, "machine": machine}
        append_record(name, record)
        records.append(record)
    return records


def print_speeds(title: str, records: list[Record], flops: float) -> None:
    """A row a side: time, how many times as fast the first side is, share of the peak, memory."""
    columns = ("", "median", "ours is faster", "of peak", "first call", "peak memory")
    print_table(title, columns, speed_rows(records, flops))


def speed_rows(records: list[Record], flops: float) -> list[list[str]]:
    """The cells of `print_speeds`; `flops` of one call.

    The time of a side is the median over its processes of the median of its calls.
    """
    sides: dict[str, list[Record]] = {}
    for record in records:
        sides.setdefault(record["who"], []).append(record)
    ours = None
    rows = []
    for who, own in sides.items():
        seconds = statistics.median(statistics.median(r["call_s"]) for r in own)
        ours = ours or seconds
        peak = statistics.median(record["matmul_flops"] for record in own)
        rows.append(
            [
                who,
                f"{seconds * 1e3:,.1f} ms",
                ratio(seconds, ours),
                f"{flops / seconds / peak:.0%}",
                f"{statistics.median(record['first_s'] for record in own):.1f} s",
                megabytes(statistics.median(record["peak_bytes"] for record in own)),
            ]
        )
    return rows
