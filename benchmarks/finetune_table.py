"""The table of `benchmarks.finetune`, from the records of its trainings."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.records import megabytes, print_table, ratio
from benchmarks.speed import OURS
from benchmarks.trainings import Record

FIRST, SECOND = f"{OURS}, first run", f"{OURS}, second run"
PADDED, GROUPED = "Trainer", "Trainer, grouped by length"
SIDES = (FIRST, SECOND, PADDED, GROUPED)


def by_who(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each side, in the order of `SIDES`."""
    return {who: [record for record in records if record["who"] == who] for who in SIDES}


def print_sides(title: str, records: Sequence[Record]) -> None:
    print_table(title, ("", *SIDES), sides_rows(records))


def sides_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row a figure, a column a side: medians over seeds; of the score the mean."""
    sides = by_who(records)

    def row(label: str, key: str, cell: Callable[[float], str] = _seconds) -> list[str]:
        """A side that has no such figure gets a dash."""
        cells = [
            cell(statistics.median(r[key] for r in own)) if key in own[0] else "-"
            for own in sides.values()
        ]
        return [label, *cells]

    def compared(who: str, key: str) -> list[str]:
        """`who` / each of the others; nothing below the two of ours."""
        values = {side: statistics.median(r[key] for r in own) for side, own in sides.items()}
        return ["", "", *(ratio(values[who], values[side]) for side in (PADDED, GROUPED))]

    scores = [[record["weighted_f1"] for record in own] for own in sides.values()]
    rates = [statistics.median(map(tokens_per_second, own)) for own in sides.values()]
    return [
        row("whole process", "wall_s"),
        ["first run / theirs", *compared(FIRST, "wall_s")],
        ["second run / theirs", *compared(SECOND, "wall_s")],
        row("training, compilation included", "train_s"),
        ["real tokens a second of it", *(f"{rate:,.0f}" for rate in rates)],
        row("an epoch after the first", "epoch_s"),
        row("until the first step returns", "first_step_s"),
        row("the step: tracing", "step_trace_s"),
        row("the step: compiling", "step_compile_s"),
        row("all compiling", "compile_s"),
        row("waiting for batches", "input_wait_share", "{:.1%}".format),
        ["weighted F1, mean", *(f"{statistics.mean(values):.4f}" for values in scores)],
        ["weighted F1, range", *(f"{min(v):.4f}-{max(v):.4f}" for v in scores)],
        row("peak memory", "peak_bytes", megabytes),
        ["first run / theirs", *compared(FIRST, "peak_bytes")],
    ]


def tokens_per_second(record: Record) -> float:
    """Real tokens of all epochs, padding not counted, over the seconds of the training."""
    return record["train_tokens"] * record["epochs"] / record["train_s"]


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
