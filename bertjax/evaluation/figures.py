"""The pictures of a report as values: what is drawn, not how.

`svg.py` and `report_figures.html` draw them for a page, `drawing.py` as PNG. `name` is that of the
file, `title` stands above, `alt` says the same in words.
"""

import math
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from wordcloud import WordCloud

# Colours of classes, on white and on black ground; contrasts of 4.5 and more to either. Classes
# past these share OTHER.
LIGHT = ("#1f5fa8", "#b3500a", "#27724a", "#8a3fa0", "#a8323e", "#0b6f79", "#75590f", "#b5356f")
DARK = ("#7fb2ee", "#f0a060", "#74c995", "#cf9be0", "#f08a92", "#5fc9d3", "#d9bc6a", "#f29ac4")
OTHER = ("#5f6368", "#a5a29b")

# What cells of a matrix are filled with, by how much stands in them: the first colour where a
# prediction is right, the second where it is wrong. So pale that text keeps a contrast of 4.5.
HEAT_STEPS = 10
_GROUND = "#ffffff", "#1f2125"  # of a panel, light and dark
_STRONGEST = 0.7, 0.46  # share of the colour in the last step

_FAINT = 0.1  # share of a text's largest weight, under which a word is not tinted
_STRONG = 0.1  # weight that is taken for the largest where none is as large

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
        share = abs(weight) / max(_STRONG, *(abs(one) for _, one in self.parts))
        return share if share >= _FAINT else 0.0

    def _marked(self, sign: int) -> list[tuple[str, float]]:
        return [part for part in self.parts if sign * part[1] > 0 and self.share(part[1])]


@dataclass(frozen=True)
class Matrix:
    """How often each of C true classes was predicted as each."""

    name: str
    title: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # [C][C], rows true, columns predicted

    @property
    def alt(self) -> str:
        found = [
            (count, self.classes[true], self.classes[predicted])
            for true, row in enumerate(self.counts)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ]
        most = sorted(found, key=lambda confusion: -confusion[0])[:6]
        said = ", ".join(f"{true} as {predicted} {count:,}" for count, true, predicted in most)
        right = sum(row[number] for number, row in enumerate(self.counts))
        return f"{self.title}: {right:,} right" + (f"; most often wrong: {said}" if said else "")

    def level(self, true: int, predicted: int) -> int:
        """Which step of `heat` fills a cell: by its share of the row, 0 only of an empty one.

        Of wrong ones by its root: few of them matter, and should be seen.
        """
        share = self.counts[true][predicted] / max(sum(self.counts[true]), 1)
        return math.ceil(HEAT_STEPS * (share if true == predicted else math.sqrt(share)))


class Line(NamedTuple):
    """Points that belong together; where there are `low` and `high`, between which each lies."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    color: int = 0
    style: Literal["line", "dashed", "dots"] = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Mark(NamedTuple):
    """A point that is named."""

    name: str
    x: float
    y: float
    color: int = 1


@dataclass(frozen=True)
class Lines:
    """Lines over a plane of shares: x from 0 to 1, y up to 1, both shown in per cent."""

    name: str
    title: str
    x_name: str
    y_name: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    says: str = ""  # what is to be seen, in words

    @property
    def alt(self) -> str:
        return f"{self.title}: {self.says or ', '.join(line.name for line in self.lines)}"

    @property
    def y_low(self) -> float:
        """Where the axis begins: below every value, at a tenth."""
        values = [value for line in self.lines for value in (*line.y, *line.low)]
        return _tenth_below([*values, *(mark.y for mark in self.marks)])

    @property
    def lettered(self) -> list[tuple[str, Mark]]:
        """The marks with the letters by which a legend names them."""
        return list(zip(ascii_uppercase, self.marks, strict=False))


class Span(NamedTuple):
    """A share, between which it lies, and whether it rests on too little to be trusted."""

    name: str
    value: float
    low: float
    high: float
    faint: bool = False


@dataclass(frozen=True)
class Intervals:
    """Shares with their intervals, one below the other, beside a reference."""

    name: str
    title: str
    spans: tuple[Span, ...]
    reference: float
    reference_name: str
    signed: bool = False  # whether they are differences of scores, around a reference of 0

    @property
    def alt(self) -> str:
        said = ", ".join(f"{span.name} {self.written(span.value)}" for span in self.spans)
        return f"{self.title}: {self.reference_name} {self.written(self.reference)}; {said}"

    @property
    def start(self) -> float:
        """Where the axis begins."""
        if self.signed:
            return -self.end
        return _tenth_below([self.reference, *(span.low for span in self.spans)])

    @property
    def end(self) -> float:
        """Where it ends: at 1, or where the largest difference fits."""
        if not self.signed:
            return 1.0
        most = max((max(-span.low, span.high) for span in self.spans), default=0.0)
        return max(math.ceil(20 * most) / 20, 0.05)

    @property
    def levels(self) -> tuple[float, ...]:
        """The numbers of the axis."""
        if self.signed:
            return tuple(self.end * part / 2 for part in range(-2, 3))
        return levels(self.start)

    def across(self, value: float) -> float:
        """Where a value lies on the axis, in per cent of its length."""
        return round(100 * (value - self.start) / (self.end - self.start), 2)

    def written(self, value: float) -> str:
        """A share, or a difference of scores with its sign."""
        return f"{value:+.3f}" if self.signed else f"{value:.1%}"

    def level_name(self, value: float) -> str:
        """A number of the axis."""
        return (f"{value:+g}" if value else "0") if self.signed else f"{100 * value:g}%"


Figure = Bars | Histogram | Cloud | Scatter | Tinted | Matrix | Lines | Intervals


def color_of(number: int, dark: bool = False) -> str:
    """The colour of a class."""
    series = DARK if dark else LIGHT
    return series[number] if number < len(series) else OTHER[dark]


def heat(level: int, right: bool, dark: bool = False) -> str:
    """What a cell of a matrix is filled with, by its level of 0 to HEAT_STEPS."""
    share = _STRONGEST[dark] * level / HEAT_STEPS
    color, ground = color_of(0 if right else 1, dark), _GROUND[dark]
    parts = (
        round(share * int(color[i : i + 2], 16) + (1 - share) * int(ground[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def levels(low: float) -> tuple[float, ...]:
    """Round numbers of an axis that begins at a tenth and ends at 1, from there down."""
    reach = round(1 - low, 1)
    step = 20 if reach > 0.5 else 10 if reach > 0.3 else 5 if reach > 0.1 else 2
    return tuple(percent / 100 for percent in range(100, round(100 * low) - 1, -step))


def _tenth_below(values: list[float]) -> float:
    return max(min(math.floor(10 * min(values)) / 10, 0.9), 0.0)
