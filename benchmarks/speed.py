"""What the benchmarks of speed share: sides that take turns, medians, ratios, records."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.machine import describe_machine
from benchmarks.processes import run_child
from benchmarks.records import append_record, megabytes, print_table, ratio
from bertjax.errors import UserError

OURS = "bertjax"

Record = dict[str, Any]

LOCK = Path(tempfile.gettempdir(), "bertjax-benchmark.lock")  # of all that are timed one at a time

_QUIET = 0.15  # cores that other programs may keep busy


@dataclass(frozen=True)
class Side:
    """One of those that are compared: a program of `benchmarks.children`, and its settings."""

    name: str
    precision: str  # of its matrix products
    child: str
    settings: Record = field(default_factory=dict)  # its own, beside those that all get


def measure(
    benchmark: str,
    sides: Sequence[Side],
    facts: Record,
    settings: Record,
    rounds: int,
    environment: dict[str, str],
    quick: bool,
    at_once: int = 1,
) -> list[Record]:
    """Run every side in a process of its own, all of them `rounds` times, and keep the records.

    Args:
        environment: of the children, beside this process's own.
        at_once: processes that prepare at the same time, each with a share of a GPU's memory; their
            children time one after another.
        facts: what every record says, beside who, precision, result and machine.
        settings: what every child gets, beside its precision and its side's own.

    Raises:
        UserError: one side computed on a processor, and another on an accelerator.
    """
    records = []
    machine = describe_machine()
    name = f"{benchmark}-quick" if quick else benchmark
    turns = [side for turn in range(rounds) for side in (sides if turn % 2 == 0 else sides[::-1])]
    if at_once > 1:
        settings = {**settings, "lock": str(LOCK)}
        # By default each would take three quarters of a GPU's memory.
        environment = {**environment, "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / at_once:.3f}"}

    def run(side: Side) -> Record:
        own = {"precision": side.precision, **side.settings}
        child = run_child(side.child, {**settings, **own}, environment)
        who = {"benchmark": benchmark, "who": side.name, "precision": side.precision}
        around = {"others_cores": round(child.others_cores, 2), "machine": machine}
        return {**who, **facts, "environment": environment, **child.result, **around}

    for record in tqdm(_each(run, turns, at_once), benchmark, len(turns), unit="run"):
        check_one_device([*records, record])
        append_record(name, record)
        records.append(record)
    if at_once > 1:  # the others were these
        return records
    tell_disturbed(records)
    return records


def _each(run: Callable[[Side], Record], turns: Sequence[Side], at_once: int) -> Iterator[Record]:
    if at_once == 1:  # and none is begun after one that failed
        yield from map(run, turns)
        return
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(run, turns)


def check_one_device(records: Sequence[Record]) -> None:
    """UserError if one library found an accelerator, and another did not."""
    devices = {record["who"]: record["device"] for record in records}
    if len({device == "cpu" for device in devices.values()}) > 1:  # names of GPUs differ
        found = ", ".join(f"{who} on {device}" for who, device in devices.items())
        raise UserError(f"the sides computed on other devices, so nothing is compared: {found}")


def tell_disturbed(records: Sequence[Record]) -> None:
    """A line if other programs kept the machine busy meanwhile."""
    others = max(record["others_cores"] for record in records)
    if others > _QUIET:
        print(f"other programs kept up to {others:.1f} cores busy: these times are too long")


def by_side(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The records of each (who, precision), in the order of their first."""
    sides: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        sides.setdefault((record["who"], record["precision"]), []).append(record)
    return sides


def median_of(records: Sequence[Record], key: str) -> float:
    """Over processes; of what is a list, the median of each process's median."""
    values = [record[key] for record in records]
    return statistics.median(
        statistics.median(value) if isinstance(value, list) else value for value in values
    )


class Compared:
    """Sides beside bertjax, by the medians of what the records have under `key`.

    Beside bertjax in its first precision, and, where it was measured in several, in their own too.
    """

    def __init__(self, records: Sequence[Record], key: str) -> None:
        own = {side: part for side, part in by_side(records).items() if side[0] == OURS}
        self._ours = {precision: median_of(part, key) for (_, precision), part in own.items()}

    def columns(self) -> tuple[str, ...]:
        if len(self._ours) < 2:
            return ("ours is faster",)
        return ("ours is faster", "in the same precision")

    def cells(self, seconds: float, precision: str) -> list[str]:
        """How many times as fast bertjax is; a dash where there is nothing to compare with."""
        first = next(iter(self._ours.values()), 0.0)
        own = [self._ours.get(precision, 0.0)] if len(self._ours) > 1 else []
        return [ratio(seconds, ours) for ours in (first, *own)]


def spread(records: Sequence[Record], key: str, scale: float = 1e3, digits: int = 1) -> str:
    """From the least to the most of the processes' medians, for a cell; by default in ms."""
    medians = [scale * median_of([record], key) for record in records]
    return f"{min(medians):,.{digits}f} to {max(medians):,.{digits}f}"


def print_speeds(title: str, records: list[Record], flops: Callable[[str], float]) -> None:
    """A row a side: time, how many times as fast bertjax is, share of the peak, memory."""
    columns = ("", "", "median", "by process", *Compared(records, "call_s").columns())
    columns += ("of peak", "first call", "peak memory")
    print_table(title, columns, speed_rows(records, flops))


def speed_rows(records: Sequence[Record], flops: Callable[[str], float]) -> list[list[str]]:
    """The cells of `print_speeds`; `flops` of one call, by the name of the side."""
    compared = Compared(records, "call_s")
    rows = []
    for (who, precision), own in by_side(records).items():
        seconds = median_of(own, "call_s")
        share = flops(who) / seconds / median_of(own, "matmul_flops")
        rows.append(
            [
                who,
                precision,
                f"{seconds * 1e3:,.1f} ms",
                spread(own, "call_s"),
                *compared.cells(seconds, precision),
                share_of_peak(share, precision),
                f"{median_of(own, 'first_s'):.1f} s",
                megabytes(median_of(own, "peak_bytes")),
            ]
        )
    return rows


def share_of_peak(share: float, precision: str) -> str:
    """For a cell; a dash for int8, whose peak is not measured."""
    return "-" if precision == "int8" else f"{share:.0%}"
