"""Which words carry a decision: each is left out in turn (Zeiler & Fergus 2014, §4.2)."""

import re

from bertjax.evaluation.importance import Word

_WORD = re.compile(r"\S+")


def occlusions(text: str, most: int) -> tuple[list[Word], list[str]]:
    """The words of a text, and the text without each; of a long text, groups of words.

    The weight, 0 here, is to become what the label's probability loses without the word.

    Args:
      text: any.
      most: words or groups.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    size = -(-len(spans) // most) if spans else 1
    groups = [spans[i : i + size] for i in range(0, len(spans), size)]
    words, without = [], []
    for group in groups:
        start, end = group[0][0], group[-1][1]
        words.append(Word(text[start:end], start, end, 0.0))
        without.append(text[:start] + text[end:])
    return words, without
