import struct

from bertjax.evaluation.drawing import write_png
from bertjax.evaluation.drawing_text import lines_of
from bertjax.evaluation.figures import Tinted
from bertjax.evaluation.report import Report, Section, render

HOSTILE = "<b onclick=x>$1$</b>"
FIGURE = Tinted(
    "words",
    f"Row 1: {HOSTILE}",
    ((HOSTILE, 0.4), (" ", 0.0), ("cat", -0.2), ("\n", 0.0), ("of", 0.01), ("人", 0.1)),
    "animals",
)


def test_a_page_shows_the_text_whole_with_marks():
    section = Section("words", "Words", (), (FIGURE,))
    page = render(Report("t", "s", (), "n", (), (section,), "f"))
    assert "<b onclick" not in page
    assert '<mark class="for" style="--share: 1.00" title="+0.400">&lt;b onclick=x&gt;' in page
    assert (
        '</mark> <mark class="against" style="--share: 0.50" title="-0.200">cat</mark>\nof' in page
    )
    assert page.count("<mark") == 3


def test_words_fill_lines_one_after_another():
    figure = Tinted("t", "T", (("x" * 50, 1.0), (" ", 0.0)) * 3, "animals")
    found = lines_of(figure)
    assert [line for line, *_ in found] == [0, 1, 2]
    assert all(x + width <= 500 for _, x, width, *_ in found)
    long = lines_of(Tinted("t", "T", (("y" * 500, 1.0),), "animals"))
    assert "".join(word for *_, word, _ in long) == "y" * 500
    assert [line for line, *_ in long] == list(range(len(long)))
    assert all(width <= 500 for _, _, width, *_ in long)
    assert max(line for line, *_ in lines_of(Tinted("t", "T", (("z" * 90, 1.0),) * 99, "a"))) == 39


def test_a_picture_is_as_high_as_the_text(tmp_path):
    heights = []
    for times in (1, 12):
        figure = Tinted("t", "T", (*FIGURE.parts, (" word" * 9, 0.0)) * times, "animals")
        content = write_png(figure, tmp_path).read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert width == 1080
        heights.append(height)
    assert heights[1] > heights[0]
    write_png(Tinted("empty", "Empty", (), "animals"), tmp_path)
