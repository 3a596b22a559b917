"""Where lines stand on a page."""

import pytest

from bertjax.evaluation.figures import Line, Lines, Mark
from bertjax.evaluation.svg_lines import lines_parts

LINE = Line("a", (0.0, 0.5, 1.0), (1.0, 0.9, 0.8), 1, "dots", (0.95, 0.85, 0.74), (1.0, 0.95, 0.9))
FIGURE = Lines("l", "Lines", "across", "up", (LINE,), (Mark("half", 0.5, 0.9),))


def test_lines_fill_the_plane_above_the_lowest_tenth():
    parts = lines_parts(FIGURE)
    assert FIGURE.y_low == 0.7  # below 0.74
    (trace,) = parts.traces
    assert [point.x for point in trace.points] == [46, 232, 418]
    height = parts.bottom - parts.top
    assert [point.y for point in trace.points] == pytest.approx(
        [parts.top, parts.top + height / 3, parts.top + 2 * height / 3], abs=0.1
    )
    assert trace.points[1].says == "across 50.0%, up 90.0%"
    assert trace.path == "46.0,28.0 232.0,100.7 418.0,173.3"


def test_intervals_reach_from_low_to_high():
    (trace,) = lines_parts(FIGURE).traces
    for (x, upper, lower), point in zip(trace.whiskers, trace.points, strict=True):
        assert x == point.x
        assert upper <= point.y < lower


def test_marks_are_letters_where_they_belong():
    (badge,) = lines_parts(FIGURE).badges
    assert (badge.letter, badge.says, badge.x) == ("A", "half", 232)


def test_numbers_stand_at_both_axes():
    parts = lines_parts(FIGURE)
    assert [tick.text for tick in parts.x_ticks] == ["0%", "20%", "40%", "60%", "80%", "100%"]
    texts = [tick.text for tick in parts.y_ticks]
    assert texts == ["100%", "95%", "90%", "85%", "80%", "75%", "70%"]
    assert parts.y_ticks[0].at == parts.top
    assert parts.y_ticks[-1].at == parts.bottom


def test_values_of_nought_and_one_alone_have_an_axis():
    for y in (0.0, 1.0):
        one = Lines("l", "Lines", "across", "up", (Line("a", (1.0,), (y,)),))
        (point,) = lines_parts(one).traces[0].points
        assert 0 <= point.y <= 290
