"""The pictures of a report as values: what is drawn, not how.

`svg.py` and `report_figures.html` draw them for a page, `drawing.py` as PNG. `name` is that of the
file, `title` stands above, `alt` says the same in words.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wordcloud import WordCloud

# Colours of classes, on white and on black ground; contrasts of 4.5 and more to either. Classes
# past these share OTHER.
LIGHT = ("#1f5fa8", "#b3500a", "#27724a", "#8a3fa0", "#a8323e", "#0b6f79", "#75590f", "#b5356f")
DARK = ("#7fb2ee", "#f0a060", "#74c995", "#cf9be0", "#f08a92", "#5fc9d3", "#d9bc6a", "#f29ac4")
OTHER = ("#5f6368", "#a5a29b")

_FAINT = 0.05  # share of a text's largest weight, under which a word is not tinted

CLOUD_SIZE = (440, 280)  # points, as wide and as high as it is laid out


@dataclass(frozen=True)
class Bars:
    """A value for each of some names."""

    name: str
    title: str
    items: tuple[tuple[str, int], ...]
    colors: tuple[int, ...] | None = None  # of each bar; by default the first
    shares: bool = False  # whether the share of the sum stands beside a value

    @property
    def alt(self) -> str:
        return f"{self.title}: " + ", ".join(f"{name} {value:,}" for name, value in self.items)


@dataclass(frozen=True)
class Histogram:
    """Counts of whole numbers in bins of one width; the last one counts all beyond as well."""

    name: str
    title: str
    unit: str  # what the numbers count
    edges: tuple[int, ...]  # [B + 1]
    counts: tuple[int, ...]  # [B]
    beyond: int = 0  # numbers past the last edge
    limit: int | None = None  # is marked, with its name, where it is in sight
    limit_name: str = ""

    @property
    def alt(self) -> str:
        highest = max(range(len(self.counts)), key=self.counts.__getitem__)
        return (
            f"{self.title}: {sum(self.counts):,} texts of {self.edges[0]} to {self.edges[-1] - 1} "
            f"{self.unit}, most often {self.edges[highest]} to {self.edges[highest + 1] - 1}"
        )

    @property
    def limit_in_sight(self) -> bool:
        return self.limit is not None and self.edges[0] <= self.limit <= self.edges[-1]


class Word(NamedTuple):
    """Where a word of a cloud stands: its baseline begins at (x, y) and is as long as `width`."""

    text: str
    count: int
    size: float
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Cloud:
    """Words, the larger the more frequent."""

    name: str
    title: str
    words: tuple[Word, ...]
    color: int
    layout: "WordCloud"  # of the same words, for a PNG

    @property
    def alt(self) -> str:
        return f"{self.title}: " + ", ".join(word.text for word in self.words[:12])


@dataclass(frozen=True)
class Scatter:
    """Points in a plane, each of a class and with a text."""

    name: str
    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    classes: tuple[str, ...]
    class_of: tuple[int, ...]  # of each point
    texts: tuple[str, ...]

    @property
    def alt(self) -> str:
        return f"{self.title}: {len(self.x):,} texts, coloured by class: {', '.join(self.classes)}"


@dataclass(frozen=True)
class Tinted:
    """A text whose words are tinted by what they add to a score, or take from it."""

    name: str
    title: str
    parts: tuple[tuple[str, float], ...]  # make up the text; spaces between words weigh 0
    score: str  # what the weights add to

    @property
    def alt(self) -> str:
        return f"{self.title}. {self.says}"

    @property
    def says(self) -> str:
        """The words that weigh most, for and against."""
        sides = []
        for side, sign in (("for", 1), ("against", -1)):
            words = sorted(self._marked(sign), key=lambda part: -abs(part[1]))[:5]
            found = ", ".join(f"{word} {weight:+.2f}" for word, weight in words)
            sides.append(f"{side} {self.score}: {found or 'no word'}")
        return "; ".join(sides)

    def share(self, weight: float) -> float:
        """How strong a weight is, beside the strongest of the text: 0 to 1; 0 of what is faint."""
        most = max((abs(weight) for _, weight in self.parts), default=0.0)
        share = abs(weight) / most if most else 0.0
        return share if share >= _FAINT else 0.0

    def _marked(self, sign: int) -> list[tuple[str, float]]:
        return [part for part in self.parts if sign * part[1] > 0 and self.share(part[1])]


Figure = Bars | Histogram | Cloud | Scatter | Tinted


def color_of(number: int, dark: bool = False) -> str:
    """The colour of a class."""
    series = DARK if dark else LIGHT
    return series[number] if number < len(series) else OTHER[dark]
