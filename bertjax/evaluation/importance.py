"""Which words of a text carry a prediction: integrated gradients, and LIME.

N texts, T tokens of the longest, K places on the way from a baseline to a text, C classes.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

STEPS = 32
LIME_SAMPLES = 500

# Scripts without spaces would make a word of a sentence: BERT reads each ideograph by itself.
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\s{_IDEOGRAPH}]+")

Probabilities = Callable[[list[str]], np.ndarray]  # M texts -> [M, C]
# Places [K] from 0, the baseline, to 1, the text -> the score F there [K, N], and how fast each
# token's way changes it: (x - b) · dF/dx, [K, N, T], 0 where a text has no token.
Slopes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Word(NamedTuple):
    """A word of a text, or several beside each other."""

    text: str
    start: int  # characters of the text
    end: int
    weight: float  # what it adds to the score; below zero: takes from it


class Integrated(NamedTuple):
    """What each token of N texts adds to a score on the way from its baseline."""

    weights: np.ndarray  # [N, T]; those of a text add up to score - baseline, but for the gap
    scores: np.ndarray  # [N], of the texts
    baselines: np.ndarray  # [N], of the baselines
    gaps: np.ndarray  # [N], what the sum of the weights misses, at least 0


def integrated_gradients(slopes: Slopes, steps: int = STEPS) -> Integrated:
    """The mean slope of each token's way to the text (Sundararajan et al. 2017, eq. 1).

    The mean is taken by the rule of Gauss and Legendre, which is exact for a score that is a
    polynomial of a degree up to 2 `steps`. The axiom of completeness (their proposition 1) says
    what the weights add up to: the gaps tell how well the steps did.

    Args:
        slopes: called once, with `steps` + 2 places.
        steps: at least 1.
    """
    nodes, shares = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], of which the sum is 2
    scores, slope = slopes(np.concatenate([(nodes + 1) / 2, [0.0, 1.0]]))
    weights = np.einsum("k,knt->nt", shares / 2, slope[:steps].astype(np.float64))
    baselines, finals = scores[-2:].astype(np.float64)
    gaps = np.abs(weights.sum(axis=1) - (finals - baselines))
    return Integrated(weights, finals, baselines, gaps)


def words_of(text: str) -> list[Word]:
    """Runs of letters between spaces, and ideographs one by one; their weights are 0."""
    return [Word(found.group(), *found.span(), 0.0) for found in _WORD.finditer(text)]


def sum_by_word(
    text: str, spans: Sequence[tuple[int, int]] | np.ndarray, weights: np.ndarray
) -> list[Word]:
    """The words of a text, each with the sum of the weights of its word pieces.

    Args:
        spans: first character and the one after the last of each token [T, 2]; the same twice of a
            token that stands for no character, such as [CLS].
        weights: [T] or longer.
    """
    words = words_of(text)
    if not words:
        return []
    starts = [word.start for word in words]
    sums = np.zeros(len(words))
    for (start, end), weight in zip(spans, weights, strict=False):
        if end > start:
            sums[max(np.searchsorted(starts, start, side="right") - 1, 0)] += weight
    return [word._replace(weight=float(sum_)) for word, sum_ in zip(words, sums, strict=True)]


def lime_words(
    text: str,
    probabilities: Probabilities,
    number: int,
    samples: int = LIME_SAMPLES,
    seed: int = 0,
) -> list[Word]:
    """The words with the weights of LIME's linear model of a class's probability (Ribeiro 2016).

    Words are left out at random, each apart from others that are spelled alike.

    Args:
        number: of the class.
        samples: texts that are predicted; of those that are the same, one.

    Raises:
        ModuleNotFoundError: lime is not installed.
    """
    words = words_of(text)
    if not words:
        return []
    from lime.lime_text import LimeTextExplainer

    def predict(numbers: list[str]) -> np.ndarray:
        texts = [_with(text, words, {int(n) for n in kept.split()}) for kept in numbers]
        unique = list(dict.fromkeys(texts))
        row_of = {one: row for row, one in enumerate(unique)}
        return np.asarray(probabilities(unique))[[row_of[one] for one in texts]]

    # It is given the numbers of the words for a text: it would take apart words of its own.
    explainer = LimeTextExplainer(feature_selection="none", random_state=seed)
    explanation = explainer.explain_instance(
        " ".join(map(str, range(len(words)))), predict, labels=(number,), num_samples=samples
    )
    weights = dict(explanation.as_map()[number])
    return [word._replace(weight=float(weights[i])) for i, word in enumerate(words)]


def _with(text: str, words: Sequence[Word], kept: set[int]) -> str:
    """The text without the words that are not kept; what stands between words stays."""
    parts, end = [], 0
    for number, word in enumerate(words):
        parts.append(text[end : word.end] if number in kept else text[end : word.start])
        end = word.end
    return "".join([*parts, text[end:]])
