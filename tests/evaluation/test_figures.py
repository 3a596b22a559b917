"""What figures say of themselves: in words, and where things lie."""

import pytest

from bertjax.evaluation.figures import Intervals, Span, Tinted

FIGURE = Tinted(
    "words",
    "Row 1",
    (("a", 0.4), (" ", 0.0), ("cat", -0.2), ("\n", 0.0), ("of", 0.01), ("人", 0.1)),
    "animals",
)


def test_the_strongest_words_are_told_with_their_sign():
    assert FIGURE.alt == ("Row 1. for animals: a +0.40, 人 +0.10; against animals: cat -0.20")
    none = Tinted("n", "N", (("a", 0.0), (" b", 0.0)), "animals")
    assert none.says == "for animals: no word; against animals: no word"
    assert Tinted("n", "N", (), "animals").says == none.says


def test_shares_are_of_the_strongest_word_and_faint_ones_are_none():
    assert [FIGURE.share(weight) for _, weight in FIGURE.parts] == [1, 0, 0.5, 0, 0, 0.25]
    weak = Tinted("w", "Weak", (("a", 0.02), ("b", -0.005)), "animals")
    assert [weak.share(weight) for _, weight in weak.parts] == pytest.approx([0.2, 0])


def test_differences_lie_around_nothing():
    spans = (Span("accuracy", 0.02, -0.01, 0.049), Span("macro F1", -0.05, -0.12, 0.01))
    figure = Intervals("i", "Less the other", spans, 0.0, "no difference", signed=True)
    assert (figure.start, figure.end) == pytest.approx((-0.15, 0.15))
    assert [figure.across(value) for value in (-0.15, 0.0, 0.15)] == [0, 50, 100]
    assert figure.written(-0.0123) == "-0.012"
    assert [figure.level_name(value) for value in figure.levels] == [
        "-0.15", "-0.075", "0", "+0.075", "+0.15",
    ]  # fmt: skip
    assert figure.alt == ("Less the other: no difference +0.000; accuracy +0.020, macro F1 -0.050")
    equal = Intervals("i", "", (Span("accuracy", 0.0, 0.0, 0.0),), 0.0, "none", signed=True)
    assert equal.across(0.0) == 50
