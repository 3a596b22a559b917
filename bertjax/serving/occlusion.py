"""Which words carry a decision: each is left out in turn (Zeiler & Fergus 2014, §4.2)."""

import re
from collections.abc import Sequence
from itertools import accumulate

from bertjax.data.cleaning import clean_texts
from bertjax.data.tokens import token_spans
from bertjax.evaluation.importance import Word
from bertjax.models.configs import BertConfig
from bertjax.serving.predictor import Predictor

_WORD = re.compile(r"\S+")
_MOST = 64  # passes
_LEAST = 8  # however long the text is and large the model
_PRODUCTS = 2e11  # of all passes: about 4 s on two cores


def words_read(predictor: Predictor, text: str) -> list[Word]:
    """The words of a text of which the model reads something; their weights are 0.

    Not those past the end of what is read of a long text, nor those that cleaning drops.
    """
    words = [Word(found.group(), *found.span(), 0.0) for found in _WORD.finditer(text)]
    starts = [word.start for word in words]
    read = text
    if predictor.run.clean:  # which looks at each word by itself
        cleaned = clean_texts([word.text for word in words])
        words = [word for word, part in zip(words, cleaned, strict=True) if part]
        parts = [part for part in cleaned if part]
        starts = accumulate((len(part) + 1 for part in parts[:-1]), initial=0)
        read = " ".join(parts)
    if predictor.long_texts == "windows":
        return words
    [spans] = token_spans(predictor.checkpoint.tokenizer, [read], predictor.max_length)
    end = spans[:, 1].max(initial=0)
    return [word for word, start in zip(words, starts, strict=False) if start < end]


def passes_within_budget(tokens: int, config: BertConfig) -> int:
    """How often a text of as many tokens may be read, without a word or some, for one answer."""
    products = 12 * config.num_hidden_layers * config.hidden_size**2  # a token
    return min(_MOST, max(_LEAST, int(_PRODUCTS / products / max(tokens, 1))))


def occlusions(text: str, words: Sequence[Word], most: int) -> tuple[list[Word], list[str], int]:
    """The words of a text, or groups of neighbours, and what is read without each.

    The weight, 0 here, is to become what the label's probability loses without the word. What
    follows the last word stands in none of the texts: it must not take the place of what is left
    out.

    Args:
      text: any.
      words: of it, those that are read.
      most: words or groups.

    Returns:
      The groups, the texts without each, and the number of words in a group; the last may have
      fewer.
    """
    size = max(-(-len(words) // most), 1)
    groups, without = [], []
    for first in range(0, len(words), size):
        group = words[first : first + size]
        start, end = group[0].start, group[-1].end
        groups.append(Word(text[start:end], start, end, 0.0))
        without.append(text[:start] + text[end : words[-1].end])
    return groups, without, size
