"""Figures as PNG, by matplotlib."""

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.evaluation.drawing_text import draw_text, lines_of
from bertjax.evaluation.figures import (
    LIGHT,
    Bars,
    Cloud,
    Figure,
    Histogram,
    Scatter,
    Tinted,
    color_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 150
_INK, _LINE = "#1c1b1a", "#dcd8d1"
_NAME = 34  # letters of a name beside a bar


def write_png(figure: Figure, folder: Path) -> Path:
    """Write the figure as `name`.png into a folder.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    path = folder / f"{figure.name}.png"
    match figure:
        case Bars():
            height = 0.9 + 0.3 * len(figure.items)
        case Tinted():
            height = 0.9 + 0.25 * len({line for line, *_ in lines_of(figure)})
        case _:
            height = 4.2
    canvas = Canvas(figsize=(7.2, max(height, 1.6)), layout="constrained")
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
    with warnings.catch_warnings():
        # The fonts that matplotlib brings lack the letters of some scripts: boxes stand for them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        canvas.savefig(path, dpi=_DPI)
    return path


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


def _name(text: str) -> str:
    """A name of a class or a word, shortened to stand beside what it names."""
    text = " ".join(text.split()) or "(no name)"
    return _plain(text if len(text) <= _NAME else f"{text[: _NAME - 1]}…")


def _plain(text: str) -> str:
    """As text: matplotlib reads what stands between dollars as mathematics."""
    return text.replace("$", r"\$")
