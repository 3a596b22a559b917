"""A report as one HTML file that asks for nothing else: sections of sentences, figures, tables.

All texts are escaped; the page forbids itself to load anything.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined

from bertjax.evaluation.figures import (
    CLOUD_SIZE,
    DARK,
    HEAT_STEPS,
    LIGHT,
    OTHER,
    Figure,
    heat,
    levels,
)
from bertjax.evaluation.svg import cloud_height, histogram_parts, map_points, map_size
from bertjax.evaluation.svg_lines import lines_parts

if TYPE_CHECKING:
    from jinja2 import Template

Cell = str | int | float


@dataclass(frozen=True)
class Fact:
    """A number that stands large at the head of the page."""

    value: str
    name: str


@dataclass(frozen=True)
class Finding:
    """One sentence on what was found; `grave`: it should be seen to first."""

    text: str
    grave: bool
    section: str  # its anchor


@dataclass(frozen=True)
class Table:
    """Rows of cells; numbers stand at the right."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, pictures and tables."""

    anchor: str
    title: str
    sentences: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Report:
    """A page."""

    title: str
    subtitle: str
    facts: tuple[Fact, ...]
    findings_title: str
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]
    footer: str

    @property
    def figures(self) -> list[Figure]:
        """Of all sections."""
        return [figure for section in self.sections for figure in section.figures]


def render(report: Report) -> str:
    """The page, in HTML."""
    return _template().render(report=report)


@cache
def _template() -> "Template":
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["kind"] = lambda figure: type(figure).__name__.lower()
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    environment.tests["numeric"] = lambda value: isinstance(value, int | float)
    environment.globals |= {
        "histogram_parts": histogram_parts,
        "map_points": map_points,
        "map_size": map_size(),
        "cloud_width": CLOUD_SIZE[0],
        "cloud_height": cloud_height,
        "light": (*LIGHT, OTHER[0]),
        "dark": (*DARK, OTHER[1]),
        "lines_parts": lines_parts,
        "heat": heat,
        "levels": levels,
        "heat_steps": HEAT_STEPS,
    }
    return environment.get_template("report.html")


def _source(name: str) -> str:
    return (resources.files("bertjax.evaluation") / name).read_text(encoding="utf-8")


def _cell(value: Cell) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value
