"""A text with tinted words as a picture, by matplotlib."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertjax.evaluation.figures import LIGHT, Tinted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 10  # of letters, in points
_WIDTH = 500  # points
_LINES = 40  # of a longer text the rest is not drawn
_TINT = 0.4  # of the strongest word

Placed = tuple[int, float, float, str, float]  # line, x, width, word, weight


def lines_of(figure: Tinted) -> list[Placed]:
    """Where the words stand in lines that are `_WIDTH` points wide; lines are counted from 0."""
    placed, line, x = [], 0, 0.0
    space = _width(" ")
    for part, weight in figure.parts:
        if not part.strip():
            x += space if x else 0.0
            continue
        word = " ".join(part.split())
        while word:
            shown = _fitting(word)
            if x and x + _width(shown) > _WIDTH:
                line, x = line + 1, 0.0
            placed.append((line, x, _width(shown), shown, weight))
            x += _width(shown)
            word = word[len(shown) :]
    return [word for word in placed if word[0] < _LINES]


def draw_text(axes: "Axes", figure: Tinted) -> None:
    """Words for the score stand on a solid line, those against it on a dashed one."""
    words = lines_of(figure)
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(max((line for line, *_ in words), default=0) + 1, -0.5)
    axes.axis("off")
    for line, x, width, word, weight in words:
        axes.text(x, line, word.replace("$", r"\$"), size=_SIZE, va="center")
        if share := figure.share(weight):
            color, style = (LIGHT[0], "-") if weight > 0 else (LIGHT[1], "--")
            axes.fill_between([x, x + width], line - 0.4, line + 0.4, color=color, lw=0,
                              alpha=_TINT * share)  # fmt: skip
            axes.plot([x, x + width], [line + 0.4] * 2, color=color, ls=style, lw=1.5)


def _fitting(word: str) -> str:
    """As much of the word as one line takes, a letter at the least."""
    if _width(word) <= _WIDTH:
        return word
    most = next(i for i in range(1, len(word) + 1) if _width(word[:i]) > _WIDTH)
    return word[: max(most - 1, 1)]


def _width(text: str) -> float:
    return _font().getlength(text)


@cache
def _font() -> Any:
    import matplotlib
    from PIL import ImageFont

    # The font that matplotlib draws with, so that words are as wide as they are measured.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _SIZE)
