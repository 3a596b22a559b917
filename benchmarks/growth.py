"""How does the cost of bertjax grow with length, batch, depth and data?

    python -m benchmarks.growth [--data projects.csv --text title description] [--quick]

The step of `benchmarks.step_memory`, where one size grows and the others stay: the length of texts
(with the same number of texts, and of tokens a step), the texts of a batch, and layers. And what
the host does with a table before the first step, by its rows. Each point is a process of its own.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.command import check_counts, run_command
from benchmarks.curves import Curve, CurvePanel, draw_curves
from benchmarks.machine import cpu_model, describe_machine, use_cores
from benchmarks.mixed_texts import mixed_texts
from benchmarks.processes import run_child
from benchmarks.records import append_record, megabytes, print_table
from benchmarks.shapes import LONGEST, SIZES
from benchmarks.speed import Record, median_of, tell_disturbed
from benchmarks.training import PLAIN
from bertjax.checkpoints.resolve import DEFAULT_CHECKPOINT, resolve
from bertjax.errors import UserError


@dataclass(frozen=True)
class GrowthConfig:
    """Time of a training step, and of preparing a table, by size."""

    model: str = "minilm"
    """Of tiny, minilm, base, large."""
    lengths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Tokens a text."""
    batches: tuple[int, ...] = (4, 8, 16, 32)
    """Texts a step."""
    layers: tuple[int, ...] = (2, 4, 8, 16)
    """Of the model."""
    rows: tuple[int, ...] = (1_000, 2_000, 4_000, 8_000, 16_000)
    """Of the table; its texts are repeated where it has fewer."""
    data: tuple[str, ...] = ("sample",)
    """Tables of texts: .csv, .tsv, .jsonl or .parquet files with a header, or `sample`."""
    text: tuple[str, ...] = ("text", "title", "description")
    """Columns that hold text: of each table, those that it has."""
    same_texts: int = 8
    """Texts a step where length or layers grow."""
    same_length: int = 64
    """Tokens a text where batch or layers grow."""
    same_tokens: int = 2048
    """Tokens a step where length grows and the tokens of a step stay."""
    rounds: int = 2
    """Processes a point; the median counts."""
    repeats: int = 5
    """Steps a process, after the first three, or passes through the table after the first."""
    threads: int = 2
    """Cores that each may use."""
    quick: bool = False
    """A tiny model, two points a line: shows that the benchmark runs, and nothing else."""


class Line(NamedTuple):
    label: str
    points: str  # which records
    key: str  # of the seconds


class Question(NamedTuple):
    title: str
    unit: str
    lines: tuple[Line, ...]


QUESTIONS = (
    Question(
        "A step, by length",
        "tokens a text",
        (
            Line("as many texts", "length, texts stay", "call_s"),
            Line("as many tokens", "length, tokens stay", "call_s"),
        ),
    ),
    Question("A step, by batch", "texts a step", (Line("step", "batch", "call_s"),)),
    Question("A step, by depth", "layers", (Line("step", "layers", "call_s"),)),
    Question(
        "Before the first step, by data",
        "rows of the table",
        (
            Line("tokenizing", "rows", "tokenize_s"),
            Line("planning 4 epochs", "rows", "plan_s"),
            Line("packing an epoch", "rows", "pack_s"),
        ),
    ),
)


class Point(NamedTuple):
    """One process to measure."""

    points: str
    size: int
    child: str
    settings: dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("growth", GrowthConfig, run, arguments)


def run(config: GrowthConfig) -> None:
    if config.quick:
        small = {"lengths": (8, 16), "batches": (2, 4), "layers": (1, 2), "rows": (32, 64)}
        small |= {"same_texts": 2, "same_length": 8, "same_tokens": 32, "rounds": 1, "repeats": 2}
        config = replace(config, model="tiny", **small)
    _check(config)
    texts = mixed_texts(config.data, config.text, max(config.rows), seed=0)
    use_cores(config.threads)
    with tempfile.TemporaryDirectory(prefix="bertjax-growth-") as folder:
        path = Path(folder, "texts.json")
        path.write_text(json.dumps(texts), encoding="utf-8")
        records = _measure(config, [*step_points(config), *row_points(config, path)])
    panels = panels_of(records)
    columns = ("", "", "from", "to", "took", "", "exponent", "a doubling takes")
    columns += ("of peak", "", "peak memory", "")
    print_table(f"How times grow, {config.model}", columns, growth_rows(panels, records))
    tell_disturbed(records)
    note = f"{cpu_model()}, {config.threads} cores; medians of {config.rounds} processes each"
    name = "growth-quick" if config.quick else "growth"
    chart = draw_curves(name, "How times grow with length, batch, depth and data", panels, note)
    print(note, *([f"chart: {chart}"] if chart else []), sep="\n")


def _check(config: GrowthConfig) -> None:
    check_counts(config, "rounds", "repeats", "threads", "same_texts", "same_length", "same_tokens")
    for name in ("lengths", "batches", "layers", "rows"):
        sizes = getattr(config, name)
        if len(set(sizes)) < 2 or min(sizes) < 1:
            raise UserError(f"--{name} must be two or more different sizes from 1, found {sizes}")
    if config.model not in SIZES:
        raise UserError(f"--model must be one of {', '.join(SIZES)}, found {config.model!r}")
    if max(*config.lengths, config.same_length) > LONGEST:
        raise UserError(f"the models read at most {LONGEST} tokens a text: name shorter lengths")
    if uneven := [length for length in config.lengths if config.same_tokens % length]:
        raise UserError(
            f"--same-tokens {config.same_tokens} is no multiple of the length {uneven[0]}"
        )


def step_points(config: GrowthConfig) -> list[Point]:
    """The training steps to be measured."""
    sizes = SIZES[config.model]
    texts, length = config.same_texts, config.same_length

    def point(points: str, size: int, texts: int, length: int, layers: int) -> Point:
        own = asdict(replace(sizes, num_hidden_layers=layers))
        settings = {"sizes": own, "texts": texts, "length": length, **PLAIN}
        return Point(points, size, "train_bertjax", settings)

    depth = sizes.num_hidden_layers
    return [
        *(point("length, texts stay", size, texts, size, depth) for size in config.lengths),
        *(
            point("length, tokens stay", size, config.same_tokens // size, size, depth)
            for size in config.lengths
        ),
        *(point("batch", size, size, length, depth) for size in config.batches),
        *(point("layers", size, texts, length, size) for size in config.layers),
    ]


def row_points(config: GrowthConfig, texts: Path) -> list[Point]:
    """The tables to be prepared: the first rows of a file of texts."""
    shared = {"data": str(texts), "checkpoint": str(resolve(DEFAULT_CHECKPOINT))}
    return [Point("rows", rows, "prepare_rows", {**shared, "rows": rows}) for rows in config.rows]


def _measure(config: GrowthConfig, points: Sequence[Point]) -> list[Record]:
    """A record a process: all points once, then once more the other way round, and so on."""
    precision = run_child("auto_precision", {}).result["precision"]
    shared = {"precision": precision, "repeats": config.repeats, "threads": config.threads}
    facts = {"model": config.model, **shared}
    machine = describe_machine()
    orders = [points if turn % 2 == 0 else points[::-1] for turn in range(config.rounds)]
    turns = [point for order in orders for point in order]
    records = []
    for points_of, size, module, settings in tqdm(turns, desc="growth", unit="run"):
        child = run_child(module, {**shared, **settings})
        record = {"benchmark": "growth", "points": points_of, "size": size, **facts}
        record |= {name: settings[name] for name in ("texts", "length") if name in settings}
        record |= {**child.result, "others_cores": round(child.others_cores, 2)}
        append_record("growth-quick" if config.quick else "growth", record | {"machine": machine})
        records.append(record)
    return records


def panels_of(records: Sequence[Record]) -> list[CurvePanel]:
    """A panel a question, with the medians of each size."""
    panels = []
    for title, unit, lines in QUESTIONS:
        curves = []
        for label, points, key in lines:
            own = [record for record in records if record["points"] == points]
            sizes = tuple(sorted({record["size"] for record in own}))
            seconds = tuple(median_of([r for r in own if r["size"] == size], key) for size in sizes)
            curves.append(Curve(label, sizes, seconds))
        panels.append(CurvePanel(title, unit, tuple(curves)))
    return panels


def growth_rows(panels: Sequence[CurvePanel], records: Sequence[Record]) -> list[list[str]]:
    """A row a line: the smallest and the largest size, what they took, and the fit over all."""
    lines = [line for question in QUESTIONS for line in question.lines]
    curves = [(panel, curve) for panel in panels for curve in panel.curves]
    rows = []
    for line, (panel, curve) in zip(lines, curves, strict=True):
        ends = [
            [r for r in records if (r["points"], r["size"]) == (line.points, size)]
            for size in (curve.sizes[0], curve.sizes[-1])
        ]
        row = [
            f"{panel.title}, {curve.label}",
            panel.unit,
            f"{curve.sizes[0]:,}",
            f"{curve.sizes[-1]:,}",
            f"{curve.seconds[0] * 1e3:,.1f} ms",
            f"{curve.seconds[-1] * 1e3:,.1f} ms",
            f"{curve.exponent():.2f}",
            f"x {curve.per_doubling():.2f}",
            *(_share(own) for own in ends),
            *(megabytes(median_of(own, "peak_bytes")) for own in ends),
        ]
        rows.append(row)
    return rows


def _share(records: Sequence[Record]) -> str:
    """Of the peak, for a cell: a dash where nothing is multiplied."""
    first = records[0]
    if "matmul_flops" not in first:
        return "-"
    layers = first["size"] if first["points"] == "layers" else None
    sizes = SIZES[first["model"]]
    if layers:
        sizes = replace(sizes, num_hidden_layers=layers)
    flops = 3 * sizes.forward_flops([first["length"]] * first["texts"], first_only=True)
    return f"{flops / median_of(records, 'call_s') / median_of(records, 'matmul_flops'):.0%}"


if __name__ == "__main__":
    sys.exit(main())
