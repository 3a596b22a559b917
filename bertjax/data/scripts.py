"""In which scripts texts are written: Latin, Cyrillic, Han ..., by Unicode's property Script."""

from collections import Counter
from collections.abc import Iterable
from functools import cache

NO_LETTERS = "no letters"


def main_script(text: str) -> str:
    """The script of most letters of a text, by Unicode's name; `NO_LETTERS` where it has none."""
    found = Counter[str]()
    for letter, count in Counter(text).items():
        if letter.isalpha() and (name := _script(letter)):
            found[name] += count
    return max(found, key=lambda name: (found[name], name)) if found else NO_LETTERS


def script_counts(texts: Iterable[str]) -> dict[str, int]:
    """Texts of each `main_script`, the most frequent first; empty texts are left out."""
    counts = Counter(main_script(text) for text in texts if text.strip())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@cache
def _script(letter: str) -> str | None:
    """None for letters that belong to no script alone."""
    from fontTools import unicodedata

    code = unicodedata.script(letter)
    if code in ("Zyyy", "Zinh", "Zzzz"):  # common, inherited, unknown
        return None
    return unicodedata.script_name(code).replace("_", " ")
