"""The table of `benchmarks.finetune`, from the records of its trainings."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.records import megabytes, print_table, ratio
from benchmarks.speed import OURS, median_of
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

    def compared(label: str, values: Mapping[str, float]) -> list[list[str]]:
        """Both runs of ours / each of the others; nothing below the two of ours."""
        return [
            [
                f"{label}: {name} / theirs",
                *("", ""),
                *(ratio(values[who], values[side]) for side in (PADDED, GROUPED)),
            ]
            for who, name in ((FIRST, "first run"), (SECOND, "second run"))
        ]

    def medians(key: str) -> dict[str, float]:
        return {who: median_of(own, key) for who, own in sides.items()}

    scores = [[record["weighted_f1"] for record in own] for own in sides.values()]
    rates = {who: statistics.median(map(tokens_per_second, own)) for who, own in sides.items()}
    shares = [[peak_share(record) for record in own] for own in sides.values()]
    return [
        row("whole process", "wall_s"),
        *compared("whole process", medians("wall_s")),
        row("training, compilation included", "train_s"),
        ["real tokens a second of it", *(f"{rate:,.0f}" for rate in rates.values())],
        *compared("tokens a second", rates),
        row("an epoch after the first", "epoch_s"),
        [
            "of peak, in such an epoch",
            *(f"{statistics.median(own):.0%}" if all(own) else "-" for own in shares),
        ],
        row("the step: tracing", "step_trace_s"),
        row("the step: compiling", "step_compile_s"),
        row("all compiling, sum over threads", "compile_s"),
        row("waiting for batches", "input_wait_share", "{:.1%}".format),
        ["weighted F1, mean", *(f"{statistics.mean(values):.4f}" for values in scores)],
        ["weighted F1, range", *(f"{min(v):.4f}-{max(v):.4f}" for v in scores)],
        row("peak memory", "peak_bytes", megabytes),
        *compared("peak memory", medians("peak_bytes")),
    ]


def tokens_per_second(record: Record) -> float:
    """Real tokens of all epochs, padding not counted, over the seconds of the training."""
    return record["train_tokens"] * record["epochs"] / record["train_s"]


def peak_share(record: Record) -> float:
    """The products of an epoch's real tokens, beside what large ones would be in its time.

    0 where the record does not tell: older ones do not.
    """
    flops = record.get("flops_a_token", 0.0) * record["train_tokens"]
    return flops / record["epoch_s"] / record.get("matmul_flops", 1.0)


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
