"""How times grow: fitted exponents, and a chart of them with a panel a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.charts import INK, OURS_COLOR, can_draw, durations, save
from benchmarks.records import RESULTS

_COLORS = (OURS_COLOR, "#3d7ea6", "#8a9a5b")
_COLUMNS, _WIDTH, _HEIGHT = 2, 5.0, 3.4  # of panels; inches of one


@dataclass(frozen=True)
class Curve:
    """Times at two or more sizes."""

    label: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def exponent(self) -> float:
        """k of seconds ~ size^k, by least squares of the logarithms."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])

    def per_doubling(self) -> float:
        """How many times as long it takes with twice the size, by that fit."""
        return 2.0 ** self.exponent()


class CurvePanel(NamedTuple):
    title: str
    unit: str  # of sizes
    curves: tuple[Curve, ...]


def draw_curves(
    name: str, title: str, panels: Sequence[CurvePanel], note: str, folder: Path = RESULTS
) -> Path | None:
    """Write `NAME.png`. None, and a line that says so, where matplotlib is not installed."""
    if not can_draw():
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure((_WIDTH * columns, _HEIGHT * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, shown in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, shown)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    return save(figure, name, title, note, folder)


def _draw_panel(axes, shown: CurvePanel) -> None:
    """Both axes by their logarithms, so that a power is a line; the times stand beside its name."""
    for curve, color in zip(shown.curves, _COLORS, strict=False):
        times = " to ".join(durations([curve.seconds[0], curve.seconds[-1]]))
        label = f"{curve.label}: {times}, x {curve.per_doubling():.2f} a doubling"
        axes.plot(curve.sizes, curve.seconds, "o-", color=color, label=label, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = sorted({size for curve in shown.curves for size in curve.sizes})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
    axes.minorticks_off()
    axes.set_yticks([])
    axes.margins(0.06, 0.3)  # room for the names
    axes.set_xlabel(shown.unit, fontsize=9, color=INK)
    axes.set_title(shown.title, loc="left", fontsize=11, color=INK)
    axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
