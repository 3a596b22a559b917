"""A picture of a search: which settings gave which scores."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertjax.cluster.search_space import Choice, Range, Space
from bertjax.cluster.tune_report import FAILED, FINISHED, STOPPED, Row, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _GREY, _RED = "#2f6db3", "#80868b", "#d1422f"
_STYLES: dict[str, dict[str, Any]] = {
    FINISHED: {"color": _BLUE},
    STOPPED: {"facecolors": "none", "edgecolors": _GREY},
    FAILED: {"color": _GREY, "marker": "x"},
}
_LABELS = {STOPPED: "stopped by ASHA"}


class _Shown(NamedTuple):
    """A trial that reported a score."""

    row: Row
    score: float


def plot_search(path: Path, rows: Sequence[Row], space: Space, metric: str) -> None:
    """Write `draw_search` as a PNG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_search(rows, space, metric)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)


def draw_search(rows: Sequence[Row], space: Space, metric: str) -> "Figure":
    """A panel for the order of the trials, and one for each setting that is searched."""
    from matplotlib.figure import Figure

    shown = [
        _Shown(row, row.best) for row in rows if row.best is not None and math.isfinite(row.best)
    ]
    count = 1 + len(space)
    columns = min(count, 3 if count <= 6 else 4)
    lines = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 2.8 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel().tolist()
    for panel in panels[count:]:
        panel.remove()
    _plot_order(panels[0], shown, metric)
    for panel, (name, values) in zip(panels[1:], space.items(), strict=False):
        _plot_setting(panel, name, values, shown)
    best = best_of(rows, metric)
    for number, panel in enumerate(panels[:count]):
        panel.grid(alpha=0.25)
        panel.set_axisbelow(True)
        if number % columns == 0:
            panel.set_ylabel(f"{metric}, validation rows")
        _mark_best(panel, best, ["trial", *space][number], space)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return figure


def _plot_order(panel: "Axes", shown: Sequence[_Shown], metric: str) -> None:
    from matplotlib.ticker import MaxNLocator

    _scatter(panel, [one.row.number for one in shown], shown)
    rows = [one.row for one in shown]
    numbers, scores = [], []
    for end, row in enumerate(rows, 1):
        best = best_of(rows[:end], metric)
        if best is not None:
            numbers.append(row.number)
            scores.append(best.best)
    panel.step(numbers, scores, where="post", color=_RED, linewidth=1, label="best so far")
    panel.set_xlabel("trial")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _plot_setting(
    panel: "Axes", name: str, values: Range | Choice, shown: Sequence[_Shown]
) -> None:
    _scatter(panel, [_place(values, one.row, name) for one in shown], shown)
    if isinstance(values, Choice):
        panel.set_xticks(range(len(values.values)), [str(value) for value in values.values])
        panel.set_xlim(-0.5, len(values.values) - 0.5)
        panel.set_xlabel(name)
        return
    margin = 0.05  # of the range on each side, so that the whole space is seen
    if values.log:
        panel.set_xscale("log")
        factor = (values.high / values.low) ** margin
        panel.set_xlim(values.low / factor, values.high * factor)
    else:
        beside = (values.high - values.low) * margin
        panel.set_xlim(values.low - beside, values.high + beside)
    panel.set_xlabel(f"{name} (log scale)" if values.log else name)


def _place(values: Range | Choice, row: Row, name: str) -> float:
    """On the axis; the values of a choice stand in equal distances, like names.

    There trials stand a little beside each other, that none hides another.
    """
    value = row.settings[name]
    if isinstance(values, Range):
        return value
    return values.values.index(value) + 0.06 * (row.number % 5 - 2)


def _scatter(panel: "Axes", places: Sequence[float], shown: Sequence[_Shown]) -> None:
    for status, style in _STYLES.items():
        points = [
            (place, one.score)
            for place, one in zip(places, shown, strict=True)
            if one.row.status == status
        ]
        if points:
            x, y = zip(*points, strict=True)
            panel.scatter(x, y, s=28, label=_LABELS.get(status, status), **style)


def _mark_best(panel: "Axes", best: Row | None, name: str, space: Space) -> None:
    if best is None or best.best is None:
        return
    x = best.number if name == "trial" else _place(space[name], best, name)
    panel.scatter([x], [best.best], s=170, marker="*", color=_RED, label="best", zorder=3)
