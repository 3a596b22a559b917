"""The tables of `benchmarks.quality`, from the records of its trainings."""

import statistics
from collections import defaultdict
from typing import Any

from benchmarks.charts import Panel, panel_of, sizes
from benchmarks.records import megabytes, print_table, ratio
from benchmarks.speed import OURS, median_of

THEIRS = "transformers Trainer"

Record = dict[str, Any]
Cell = tuple[float, int]  # learning rate, epochs


def by_cell(grid: list[Record]) -> dict[Cell, list[Record]]:
    """The trainings of each cell of the grid."""
    cells: dict[Cell, list[Record]] = defaultdict(list)
    for record in grid:
        cells[record["learning_rate"], record["epochs"]].append(record)
    return dict(cells)


def best_cell(grid: list[Record]) -> Cell:
    """The cell of the highest mean weighted F1; of equals the one with fewer epochs."""
    cells = by_cell(grid)

    def rank(cell: Cell) -> tuple[float, int]:
        return statistics.mean(record["weighted_f1"] for record in cells[cell]), -cell[1]

    return max(cells, key=rank)


def print_grid(grid: list[Record]) -> None:
    rows = []
    for (rate, epochs), records in by_cell(grid).items():
        scores = [record["weighted_f1"] for record in records]
        wall = statistics.median(record["wall_s"] for record in records)
        each = ", ".join(f"{score:.4f}" for score in scores)
        rows.append(
            [f"{rate:g}", str(epochs), f"{statistics.mean(scores):.4f}", each, f"{wall:.1f} s"]
        )
    columns = ("learning rate", "epochs", "mean weighted F1", "by seed", "wall")
    print_table(f"The grid of {THEIRS}", columns, rows)


def print_seeds(records: list[Record], best: Cell) -> None:
    seeds = len({record["seed"] for record in records})
    title = (
        f"Fine-tuning, {seeds} seeds, medians; the Trainer with learning rate {best[0]:g} and "
        f"{best[1]} epochs"
    )
    print_table(title, ("", OURS, THEIRS, "ours / theirs"), seeds_rows(records))


def seeds_rows(records: list[Record]) -> list[list[str]]:
    """A row a figure: ours, theirs, and the ratio; of scores the difference."""
    sides = {who: [r for r in records if r["who"] == who] for who in (OURS, THEIRS)}
    for side in sides.values():
        side.sort(key=lambda record: record["seed"])
    scores = {who: [record["weighted_f1"] for record in side] for who, side in sides.items()}

    rows = []
    for ours, theirs in zip(sides[OURS], sides[THEIRS], strict=True):
        label = f"weighted F1, seed {ours['seed']}"
        rows.append(_difference(label, ours["weighted_f1"], theirs["weighted_f1"]))
    means = [statistics.mean(scores[who]) for who in sides]
    rows.append(_difference("weighted F1, mean", *means))
    spreads = [f"{min(values):.4f}-{max(values):.4f}" for values in scores.values()]
    rows.append(["weighted F1, range", *spreads, ""])
    deviations = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in scores.values()]
    rows.append(["weighted F1, standard deviation", *(f"{d:.4f}" for d in deviations), ""])
    for label, key in (
        ("whole process", "wall_s"),
        ("training", "train_s"),
        ("an epoch after the first", "epoch_s"),
    ):
        values = [statistics.median(record[key] for record in side) for side in sides.values()]
        rows.append([label, *(f"{value:.2f} s" for value in values), ratio(*values)])
    compiled = statistics.median(record["compile_s"] for record in sides[OURS])
    rows.append(["compilation, sum over threads", f"{compiled:.2f} s", "-", ""])
    peaks = [statistics.median(r["peak_bytes"] for r in side) for side in sides.values()]
    rows.append(["peak memory", *map(megabytes, peaks), ratio(*peaks)])
    return rows


def cost_panels(records: list[Record]) -> list[Panel]:
    """A bar a side: the whole process's time and memory, and the mean score in its name."""
    sides = {who: [r for r in records if r["who"] == who] for who in (OURS, THEIRS)}
    names = {
        who: f"{who}, F1 {statistics.mean(record['weighted_f1'] for record in own):.3f}"
        for who, own in sides.items()
    }

    def medians(key: str) -> dict[str, float]:
        return {names[who]: median_of(own, key) for who, own in sides.items()}

    ours = (names[OURS],)
    return [
        panel_of("whole process", medians("wall_s"), ours),
        panel_of("peak memory", medians("peak_bytes"), ours, sizes),
    ]


def _difference(label: str, ours: float, theirs: float) -> list[str]:
    return [label, f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.4f}"]
