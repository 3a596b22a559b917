"""Where the parts of a figure stand on a page, in the units of its SVG's view box."""

from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from bertjax.evaluation.figures import CLOUD_SIZE, LIGHT, Cloud, Histogram, Scatter

_WIDTH, _HEIGHT = 440, 250  # of a histogram
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 22, 40  # around its bars
_MAP = (800, 520)
_EDGE = 14  # around the points of a map
_DIGITS = 1  # of a place: a tenth of a unit


@dataclass(frozen=True)
class Bar:
    """A rectangle and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class Tick:
    """A number on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class HistogramParts:
    """A histogram's: all within [0, width] x [0, height], y downwards."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    limit: Tick | None
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


@dataclass(frozen=True)
class Point:
    """A point of a map; `color` is the number of its colour."""

    x: float
    y: float
    group: int
    color: int
    text: str


def histogram_parts(figure: Histogram) -> HistogramParts:
    """Bars, numbers of both axes, and the limit if it is in sight."""
    low, high = figure.edges[0], figure.edges[-1]
    y_values = MaxNLocator(4, integer=True).tick_values(0, max(figure.counts))
    top = max(y_values[-1], max(figure.counts))

    def across(value: float) -> float:
        share = (value - low) / (high - low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), _DIGITS)

    def down(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM), _DIGITS)

    bars = []
    last = len(figure.counts) - 1
    for number, count in enumerate(figure.counts):
        start, end = figure.edges[number], figure.edges[number + 1]
        wide = across(end) - across(start)
        gap = 1 if wide > 4 else 0
        span = str(start) if end - start == 1 else f"{start} to {end - 1}"
        if number == last and figure.beyond:
            span = f"{start} and more"
        says = f"{span} {figure.unit}: {count:,}"
        y = down(count)
        bars.append(Bar(across(start), y, round(wide - gap, 1), round(down(0) - y, 1), says))
    x_values = MaxNLocator(6, integer=True).tick_values(low, high)
    return HistogramParts(
        tuple(bars),
        tuple(Tick(across(v), f"{v:,.0f}") for v in x_values if low <= v <= high),
        tuple(Tick(down(v), f"{v:,.0f}") for v in y_values if 0 <= v <= top),
        _limit(figure, across),
    )


def _limit(figure: Histogram, across) -> Tick | None:
    if not figure.limit_in_sight or figure.limit is None:
        return None
    return Tick(across(figure.limit), figure.limit_name)


def map_size() -> tuple[int, int]:
    """(width, height) of a map."""
    return _MAP


def map_points(figure: Scatter) -> list[Point]:
    """The points, spread over the whole of the map; those of the first classes lie below."""
    width, height = _MAP
    places = _spread(figure.x, width), _spread(tuple(-y for y in figure.y), height)
    order = sorted(range(len(figure.x)), key=lambda i: figure.class_of[i])
    return [
        Point(
            places[0][i],
            places[1][i],
            figure.class_of[i],
            min(figure.class_of[i], len(LIGHT)),
            figure.texts[i],
        )
        for i in order
    ]


def _spread(values: tuple[float, ...], size: int) -> list[float]:
    low, high = min(values), max(values)
    if high == low:
        return [size / 2] * len(values)
    scale = (size - 2 * _EDGE) / (high - low)
    return [round(_EDGE + (value - low) * scale, _DIGITS) for value in values]


def cloud_height(figure: Cloud) -> float:
    """As high as its words reach, that no empty ground is shown."""
    return min(CLOUD_SIZE[1], max(word.y for word in figure.words) + 12)
