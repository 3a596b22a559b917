"""A report: all in one file, every text escaped, each figure as a picture too."""

import re
import struct
from html.parser import HTMLParser

import pytest

from bertjax.evaluation.clouds import make_cloud
from bertjax.evaluation.drawing import write_png
from bertjax.evaluation.figures import (
    DARK,
    HEAT_STEPS,
    LIGHT,
    Bars,
    Histogram,
    Intervals,
    Line,
    Lines,
    Mark,
    Matrix,
    Scatter,
    Span,
    color_of,
    heat,
)
from bertjax.evaluation.report import Fact, Finding, Report, Section, Table, render
from bertjax.evaluation.svg import histogram_parts, map_points

HOSTILE = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>&amp;$x$'
BARS = Bars("bars", "Rows", ((HOSTILE, 30), ("b", 10)), (0, 1), True)
HISTOGRAM = Histogram("hist", "Lengths", "words", (0, 5, 10, 15), (4, 0, 2), 1, 12, "limit 12")
SCATTER = Scatter(
    "map", "Map", (0.0, 1.0, 2.0), (1.0, 1.0, 3.0), (HOSTILE, "b"), (0, 1, 0), (HOSTILE, "y", "z")
)
MATRIX = Matrix("matrix", HOSTILE, (HOSTILE, "b", "c"), ((8, 2, 0), (1, 999, 0), (0, 0, 0)))
LINES = Lines(
    "lines",
    HOSTILE,
    HOSTILE,
    "up",
    (Line(HOSTILE, (0.0, 1.0), (0.5, 1.0), 0, "dots", (0.4, 0.9), (0.6, 1.0)),),
    (Mark(HOSTILE, 0.5, 0.75),),
)
SPANS = Span(HOSTILE, 0.75, 0.5, 1.0), Span("few", 1.0, 0.25, 1.0, True)
INTERVALS = Intervals("intervals", HOSTILE, SPANS, 0.8, HOSTILE)
EVALUATED = MATRIX, LINES, INTERVALS


@pytest.fixture(scope="module")
def cloud():
    return make_cloud("cloud", HOSTILE, [("graph", 9), ("network", 5), ("don't<b>", 2)], 1)


def report(*figures) -> Report:
    table = Table(HOSTILE, ("Name", "Rows"), ((HOSTILE, 1234), ("b", 5.25)))
    section = Section("one", "One", (HOSTILE,), figures, (table,))
    facts, findings = (Fact("3", "rows"),), (Finding(HOSTILE, True, "one"),)
    return Report(HOSTILE, HOSTILE, facts, HOSTILE, findings, (section,), HOSTILE)


class Elements(HTMLParser):
    """Counts elements and keeps what could load something."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_hostile_texts_are_shown_as_text(cloud):
    page = render(report(BARS, HISTOGRAM, SCATTER, cloud, *EVALUATED))
    found = Elements(page)
    assert found.tags.count("script") == 1  # its own
    assert "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert ("data-text", HOSTILE) in found.attributes


def test_nothing_is_loaded(cloud):
    page = render(report(BARS, HISTOGRAM, SCATTER, cloud, *EVALUATED))
    found = Elements(page)
    links = [value or "" for name, value in found.attributes if name in ("href", "src")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_tables_have_headers_and_numbers_are_written_for_people():
    page = render(report())
    assert '<th scope="col" class="number">Rows</th>' in page
    assert '<td class="number" dir="auto">1,234</td>' in page
    assert '<td class="number" dir="auto">5.2</td>' in page


def test_bars_are_as_long_as_their_values():
    page = render(report(BARS))
    assert re.findall(r'style="width: ([\d.]+)%', page) == ["100.00", "33.33"]
    assert "75.0%" in page
    assert BARS.alt == f"Rows: {HOSTILE} 30, b 10"


def test_a_histogram_stands_on_its_axis():
    parts = histogram_parts(HISTOGRAM)
    heights = [bar.height for bar in parts.bars]
    assert heights[0] == 2 * heights[2]
    assert heights[1] == 0
    assert all(bar.y + bar.height == pytest.approx(parts.bottom) for bar in parts.bars)
    assert [bar.says for bar in parts.bars] == [
        "0 to 4 words: 4",
        "5 to 9 words: 0",
        "10 and more words: 2",
    ]
    assert parts.limit is not None
    assert parts.limit.at == pytest.approx(46 + 12 / 15 * 380, abs=0.1)
    far = Histogram("h", "h", "words", (0, 5), (1,), limit=512, limit_name="limit")
    assert histogram_parts(far).limit is None


def test_a_map_is_filled_and_keeps_each_text_at_its_point():
    points = map_points(SCATTER)
    assert [point.text for point in points] == [HOSTILE, "z", "y"]  # the first class lies below
    assert [(point.x, point.y) for point in points] == [(14, 506), (786, 14), (400, 506)]
    one = Scatter("m", "m", (1.0,), (1.0,), ("a",), (0,), ("t",))
    assert (map_points(one)[0].x, map_points(one)[0].y) == (400, 260)


def test_words_of_a_cloud_lie_within_it_and_beside_each_other(cloud):
    assert [word.text for word in cloud.words][:2] == ["graph", "network"]
    assert cloud.words[0].size > cloud.words[1].size
    for word in cloud.words:
        assert word.x >= -3  # the ink begins a little later
        assert word.x + word.width <= 443
        assert word.y <= 280
    assert make_cloud("none", "none", [("人工智能", 3)]) is None  # the font has no such letters
    assert make_cloud("none", "none", []) is None


def test_every_figure_is_a_png(tmp_path, cloud):
    han = Bars("han", "人工", (("智能", 1),))
    for figure in (BARS, HISTOGRAM, SCATTER, cloud, han, *EVALUATED):
        path = write_png(figure, tmp_path)
        assert path.name == f"{figure.name}.png"
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert width == 1080
        assert height >= 240


def test_a_matrix_says_what_is_most_often_wrong():
    assert MATRIX.alt == (
        f"{HOSTILE}: 1,007 right; most often wrong: {HOSTILE} as b 2, b as {HOSTILE} 1"
    )
    assert [MATRIX.level(0, i) for i in range(3)] == [8, 5, 0]  # the root of 0.2 is 0.45
    assert [MATRIX.level(1, i) for i in range(3)] == [1, 10, 0]  # one is seen however few it is
    assert [MATRIX.level(2, i) for i in range(3)] == [0, 0, 0]


def test_a_matrix_is_a_table_with_headers_for_both_classes():
    page = render(report(MATRIX))
    assert page.count('<th scope="row" dir="auto">') == 3
    assert '<td style="background: var(--r10)">999</td>' in page
    assert '<td style="background: var(--w5)">2</td>' in page
    assert '<td class="sum">1,000</td>' in page


def test_spans_lie_on_their_axis():
    assert INTERVALS.start == 0.2  # below 0.25
    assert [INTERVALS.across(value) for value in (0.2, 0.6, 1.0)] == [0.0, 50.0, 100.0]
    page = render(report(INTERVALS))
    assert "--reference: 75.0%" in page
    assert "left: 37.5%; width: 62.50%" in page  # from 50 to 100 %
    assert page.count('<li class="faint">') == 1
    assert INTERVALS.alt == f"{HOSTILE}: {HOSTILE} 80.0%; {HOSTILE} 75.0%, few 100.0%"


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, of two colours #rrggbb."""
    values = []
    for color in (a, b):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        values.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    low, high = sorted(values)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("number", range(len(LIGHT) + 1))
def test_colours_can_be_read_as_text(number):
    assert contrast(color_of(number), "#fbfaf8") >= 4.5
    assert contrast(color_of(number, dark=True), "#1f2125") >= 4.5
    assert len(LIGHT) == len(DARK)


@pytest.mark.parametrize("level", range(HEAT_STEPS + 1))
def test_numbers_can_be_read_in_cells_of_every_colour(level):
    for right in (True, False):
        assert contrast(heat(level, right), "#1c1b1a") >= 4.5
        assert contrast(heat(level, right, dark=True), "#eceae6") >= 4.5
    assert heat(0, True) == heat(0, False) == "#ffffff"
