"""Figures as PNG, by matplotlib."""

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.evaluation.drawing_text import draw_text, lines_of
from bertjax.evaluation.figures import (
    LIGHT,
    OTHER,
    Bars,
    Cloud,
    Figure,
    Histogram,
    Intervals,
    Lines,
    Matrix,
    Scatter,
    Tinted,
    color_of,
    heat,
    levels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 150
_INK, _LINE = "#1c1b1a", "#dcd8d1"
_NAME = 34  # letters of a line beside a bar


def write_png(figure: Figure, folder: Path) -> Path:
    """Write the figure as `name`.png into a folder.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    path = folder / f"{figure.name}.png"
    canvas = Canvas(figsize=_inches(figure), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    axes.set_title(_plain(textwrap.fill(figure.title, 70)), color=_INK, loc="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    match figure:
        case Bars():
            _draw_bars(axes, figure)
        case Histogram():
            _draw_histogram(axes, figure)
        case Cloud():
            axes.imshow(figure.layout.to_array())
            axes.axis("off")
        case Scatter():
            _draw_scatter(axes, figure)
        case Tinted():
            draw_text(axes, figure)
        case Matrix():
            _draw_matrix(axes, figure)
        case Lines():
            _draw_lines(axes, figure)
        case Intervals():
            _draw_intervals(axes, figure)
    with warnings.catch_warnings():
        # The fonts that matplotlib brings lack the letters of some scripts: boxes stand for them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        canvas.savefig(path, dpi=_DPI)
    return path


def _inches(figure: Figure) -> tuple[float, float]:
    """(width, height); the width is that of all but large matrices."""
    match figure:
        case Bars():
            return 7.2, max(0.9 + 0.3 * len(figure.items), 1.6)
        case Tinted():
            return 7.2, max(0.9 + 0.25 * len({line for line, *_ in lines_of(figure)}), 1.6)
        case Intervals():
            return 7.2, 1.7 + 0.32 * len(figure.spans)
        case Matrix():
            side = 0.42 * len(figure.classes)
            return max(7.2, side + 3.0), max(3.6, side + 2.6)
        case _:
            return 7.2, 4.2


def _draw_bars(axes: "Axes", figure: Bars) -> None:
    values = [value for _, value in figure.items]
    colors = figure.colors or (0,) * len(values)
    places = range(len(values))
    axes.barh(places, values, color=[color_of(number) for number in colors], height=0.7)
    axes.set_yticks(places, [_name(name) for name, _ in figure.items])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[["bottom"]].set_visible(False)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:,}", (value, place), (4, 0), textcoords="offset points", va="center")
    axes.margins(x=0.12)


def _draw_histogram(axes: "Axes", figure: Histogram) -> None:
    axes.stairs(figure.counts, figure.edges, fill=True, color=LIGHT[0])
    axes.set_xlabel(figure.unit)
    axes.set_ylabel("texts")
    axes.grid(axis="y", color=_LINE)
    axes.set_axisbelow(True)
    if figure.limit_in_sight and figure.limit is not None:
        axes.axvline(figure.limit, color=LIGHT[1], linestyle="--", label=figure.limit_name)
        axes.legend(frameon=False)


def _draw_scatter(axes: "Axes", figure: Scatter) -> None:
    for number, name in enumerate(figure.classes):
        points = [i for i, one in enumerate(figure.class_of) if one == number]
        axes.scatter(
            [figure.x[i] for i in points],
            [figure.y[i] for i in points],
            s=12,
            alpha=0.7,
            linewidths=0,
            color=color_of(number),
            label=_name(name),
        )
    axes.axis("off")
    if len(figure.classes) > 1:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)


def _draw_matrix(axes: "Axes", figure: Matrix) -> None:
    classes = range(len(figure.classes))
    fills = [
        [_rgb(heat(figure.level(true, predicted), true == predicted)) for predicted in classes]
        for true in classes
    ]
    axes.imshow(fills, aspect="equal" if len(classes) > 5 else "auto")
    names = [_name(name) for name in figure.classes]
    axes.set_yticks(classes, names)
    axes.set_xticks(classes, names, rotation=90)
    axes.tick_params(length=0)
    axes.set_ylabel("true class")
    axes.set_xlabel("predicted class")
    axes.spines[["left", "bottom"]].set_visible(False)
    for true in classes:
        for predicted in classes:
            if count := figure.counts[true][predicted]:
                axes.text(predicted, true, f"{count:,}", ha="center", va="center", fontsize=9)


def _draw_lines(axes: "Axes", figure: Lines) -> None:
    for line in figure.lines:
        color = color_of(line.color)
        if line.low:
            spread = [
                [max(y - low, 0.0) for y, low in zip(line.y, line.low, strict=True)],
                [max(high - y, 0.0) for y, high in zip(line.y, line.high, strict=True)],
            ]
            axes.errorbar(line.x, line.y, spread, fmt="none", ecolor=color, elinewidth=1, alpha=0.5)
        style = {"line": "-", "dashed": "--", "dots": "o"}[line.style]
        axes.plot(line.x, line.y, style, color=color, markersize=4, label=_plain(line.name))
    for letter, mark in figure.lettered:
        color = color_of(mark.color)
        label = _plain(f"{letter}: {mark.name}")
        axes.plot(mark.x, mark.y, "o", color=color, markersize=12, label=label, clip_on=False)
        at = {"ha": "center", "va": "center_baseline", "color": "white", "fontsize": 8}
        axes.text(mark.x, mark.y, letter, weight="bold", **at)
    axes.set_xlim(0, 1)
    axes.set_ylim(figure.y_low, 1 + 0.02 * (1 - figure.y_low))
    axes.set_yticks(levels(figure.y_low))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(figure.x_name)
    axes.set_ylabel(figure.y_name)
    axes.grid(color=_LINE)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9)


def _draw_intervals(axes: "Axes", figure: Intervals) -> None:
    for place, span in enumerate(figure.spans):
        color = OTHER[0] if span.faint else color_of(0)
        axes.plot([span.low, span.high], [place, place], color=color, linewidth=2.5, alpha=0.5)
        axes.plot(span.value, place, "o", color=color)
    axes.axvline(
        figure.reference, color=color_of(1), linestyle="--", label=_plain(figure.reference_name)
    )
    axes.set_yticks(range(len(figure.spans)), [_name(span.name) for span in figure.spans])
    axes.invert_yaxis()
    axes.set_xlim(figure.start, figure.end + 0.01 * (figure.end - figure.start))
    axes.set_xticks(figure.levels)
    axes.xaxis.set_major_formatter(lambda value, _: figure.level_name(round(value, 4)))
    axes.grid(axis="x", color=_LINE)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _name(text: str) -> str:
    """A name of a class or a word, in two lines at most, to stand beside what it names."""
    lines = textwrap.wrap(text, _NAME, max_lines=2, placeholder="…") or ["(no name)"]
    return _plain("\n".join(lines))


def _plain(text: str) -> str:
    """As text: matplotlib reads what stands between dollars as mathematics."""
    return text.replace("$", r"\$")
