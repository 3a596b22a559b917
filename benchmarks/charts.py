"""Bar charts of times and memory: a panel a question, the least on top, ours in colour."""

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.records import RESULTS, megabytes
from benchmarks.speed import OURS, Record, by_side, median_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS_COLOR, _PEER, INK = "#e4572e", "#b8c4d0", "#2b2d42"
_PANELS_A_ROW = 2
_WIDTH, _BAR, _FRAME = 5.6, 0.34, 1.0  # inches: of a panel, of a bar, of title and margin


class Bar(NamedTuple):
    label: str
    value: float  # seconds or bytes
    ours: bool


def durations(seconds: Sequence[float]) -> list[str]:
    """Three figures each, in the unit that suits the longest."""
    unit, factor = ("ms", 1e3) if max(seconds) < 10 else ("s", 1.0)
    values = [value * factor for value in seconds]
    digits = [2 if value < 10 else 1 if value < 100 else 0 for value in values]
    return [f"{value:,.{n}f} {unit}" for value, n in zip(values, digits, strict=True)]


def sizes(counts: Sequence[float]) -> list[str]:
    return [megabytes(count) for count in counts]


class Panel(NamedTuple):
    title: str
    bars: tuple[Bar, ...]  # the least first
    cells: Callable[[Sequence[float]], list[str]] = durations  # what stands beside the bars


def panel(title: str, records: Sequence[Record], key: str = "call_s") -> Panel:
    """A bar for each side of the records: the median of their seconds under `key`."""
    medians = {side: median_of(own, key) for side, own in by_side(records).items()}
    ours = [", ".join(side) for side in medians if side[0] == OURS]
    return panel_of(title, {", ".join(side): value for side, value in medians.items()}, ours)


def panel_of(
    title: str,
    values: Mapping[str, float],
    ours: Collection[str],
    cells: Callable[[Sequence[float]], list[str]] = durations,
) -> Panel:
    """A bar for each name of `values`; `ours`: the names that get the colour."""
    bars = [Bar(name, value, name in ours) for name, value in values.items()]
    return Panel(title, tuple(sorted(bars, key=lambda bar: bar.value)), cells)


def draw(
    name: str, title: str, panels: Sequence[Panel], note: str, folder: Path = RESULTS
) -> Path | None:
    """Write `NAME.png`. None, and a line that says so, where matplotlib is not installed."""
    if not can_draw():
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_PANELS_A_ROW, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [_FRAME + _BAR * max(len(panel.bars) for panel in row) for row in rows]
    figure = Figure((_WIDTH * columns, sum(heights) + _FRAME), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes, shown in zip(grid.flat, panels, strict=False):
        row = next(row for row in rows if shown in row)
        _draw_panel(axes, shown, most=max(len(panel.bars) for panel in row))
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    return save(figure, name, title, note, folder)


def can_draw() -> bool:
    """False, and a line that says so, where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        print("no chart: it needs matplotlib (pip install matplotlib)")
        return False
    return True


def save(figure: "Figure", name: str, title: str, note: str, folder: Path) -> Path:
    """Write a figure as `NAME.png`, with its title above and a note below."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold", color=INK)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color="gray")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=150, facecolor="white")
    return path


def _draw_panel(axes, shown: Panel, most: int) -> None:
    """Bars with the figure beside each and no axis; room for `most` of them."""
    values = [bar.value for bar in shown.bars]
    colors = [OURS_COLOR if bar.ours else _PEER for bar in shown.bars]
    drawn = axes.barh(range(len(values)), values, color=colors, height=0.72)
    axes.bar_label(drawn, shown.cells(values), padding=4, color=INK, fontsize=9)
    axes.set_yticks(range(len(values)), [bar.label for bar in shown.bars], fontsize=9)
    for tick, bar in zip(axes.get_yticklabels(), shown.bars, strict=True):
        tick.set_color(OURS_COLOR if bar.ours else INK)
        tick.set_fontweight("bold" if bar.ours else "normal")
    axes.set_ylim(most - 0.5, -0.5)  # downwards, and bars of one height in a row of panels
    axes.set_xlim(0, 1.22 * max(values))  # room for the figure of the longest bar
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(shown.title, loc="left", fontsize=11, color=INK)
