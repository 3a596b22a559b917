"""Word clouds: words and counts in, a layout out."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from wordcloud import WordCloud

from bertjax.evaluation.figures import CLOUD_SIZE, Cloud, Word, color_of

# matplotlib brings it: it has letters of more scripts than the font of wordcloud.
_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
_WORDS, _FEW = 45, 15


def make_cloud(
    name: str, title: str, words: Sequence[tuple[str, int]], color: int = 0
) -> Cloud | None:
    """The cloud of words, most frequent first; None where the font has the letters of none.

    Args:
        color: number of the class whose colour the words have.
    """
    drawable = {word: count for word, count in words if _has_letters(word)}
    if not drawable:
        return None
    width, height = CLOUD_SIZE
    if len(drawable) < _FEW:
        height //= 2  # or they would be lost in it
    layout = WordCloud(
        font_path=str(_FONT),
        width=width,
        height=height,
        background_color="white",
        color_func=lambda *_, **__: color_of(color),
        prefer_horizontal=1.0,  # a word that stands upright is not read
        max_font_size=52,
        min_font_size=10,
        margin=6,
        max_words=_WORDS,
        scale=2,  # of its picture: for a PNG that is sharp
        random_state=0,
    ).generate_from_frequencies(drawable)
    placed = tuple(_place(entry, drawable) for entry in layout.layout_)
    return Cloud(name, title, placed, color, layout)


def _place(entry: Any, counts: dict[str, int]) -> Word:
    (text, _), size, (top, left), _, _ = entry
    font = _font(size)
    x0, y0, _, _ = font.getbbox(text)  # of its ink, which the layout places
    baseline = top + font.getmetrics()[0] - y0
    return Word(text, counts[text], size, left - x0, baseline, font.getlength(text))


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(str(_FONT), size)


def _has_letters(word: str) -> bool:
    return all(ord(letter) in _letters() for letter in word)


@cache
def _letters() -> frozenset[int]:
    from fontTools.ttLib import TTFont

    return frozenset(TTFont(_FONT).getBestCmap() or ())
