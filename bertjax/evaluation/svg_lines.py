"""Where the parts of a figure of lines stand on a page, in the units of its SVG's view box."""

from dataclasses import dataclass

from bertjax.evaluation.figures import LIGHT, Lines, levels
from bertjax.evaluation.svg import Tick

_WIDTH, _HEIGHT = 440, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 22, 28, 44
_DIGITS = 1  # of a place: a tenth of a unit


@dataclass(frozen=True)
class Place:
    """A point, and in words what stands there."""

    x: float
    y: float
    says: str


@dataclass(frozen=True)
class Trace:
    """A line's points, and its intervals as (x, y of the upper end, y of the lower end)."""

    points: tuple[Place, ...]
    whiskers: tuple[tuple[float, float, float], ...]
    style: str
    color: int

    @property
    def path(self) -> str:
        """For a polyline."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


@dataclass(frozen=True)
class Badge:
    """A mark: the letter by which the legend names it."""

    x: float
    y: float
    letter: str
    says: str
    color: int


@dataclass(frozen=True)
class LinesParts:
    """All within [0, width] x [0, height], y downwards."""

    traces: tuple[Trace, ...]
    badges: tuple[Badge, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


def lines_parts(figure: Lines) -> LinesParts:
    """Lines, marks and the numbers of both axes."""
    low = figure.y_low

    def across(value: float) -> float:
        return round(_LEFT + value * (_WIDTH - _LEFT - _RIGHT), _DIGITS)

    def down(value: float) -> float:
        share = (value - low) / (1 - low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), _DIGITS)

    def place(x: float, y: float) -> Place:
        return Place(across(x), down(y), f"{figure.x_name} {x:.1%}, {figure.y_name} {y:.1%}")

    traces = tuple(
        Trace(
            tuple(map(place, line.x, line.y)),
            tuple(
                (across(x), down(upper), down(lower))
                for x, upper, lower in zip(line.x, line.high, line.low, strict=False)
            ),
            line.style,
            min(line.color, len(LIGHT)),
        )
        for line in figure.lines
    )
    badges = tuple(
        Badge(across(mark.x), down(mark.y), letter, mark.name, min(mark.color, len(LIGHT)))
        for letter, mark in figure.lettered
    )
    return LinesParts(
        traces,
        badges,
        tuple(Tick(across(tenth / 10), f"{10 * tenth}%") for tenth in range(0, 11, 2)),
        tuple(Tick(down(value), f"{value:.0%}") for value in levels(low)),
    )
