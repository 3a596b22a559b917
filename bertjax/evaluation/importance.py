"""Which words of a text carry a prediction: integrated gradients, and LIME.

N texts, T tokens of the longest, P points on their ways from a baseline, C classes.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

TOLERANCE = 1e-3  # of a score: what the weights of a text may miss of their sum
LIME_SAMPLES = 500
_NODES = 9  # of a panel; an odd number, so that the middle is one
_HALVINGS = 6  # of the whole way, at the most

# Scripts without spaces would make a word of a sentence: BERT reads each ideograph by itself.
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\s{_IDEOGRAPH}]+")

Probabilities = Callable[[list[str]], np.ndarray]  # M texts -> [M, C]
# Which text each point is of [P], and its place from 0, the baseline, to 1, the text [P] -> the
# score F there [P], and how fast each token's way changes it: (x - b) · dF/dx, [P, T]; 0 where a
# text has no token.
Slopes = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


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


class _Panel(NamedTuple):
    """Parts of ways, from one place to another."""

    texts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    lows: np.ndarray  # the scores at the starts
    highs: np.ndarray  # and at the ends


def integrated_gradients(slopes: Slopes, count: int, tolerance: float = TOLERANCE) -> Integrated:
    """The mean slope of each token's way to the text (Sundararajan et al. 2017, eq. 1).

    By the axiom of completeness (their proposition 1) the weights of a part of the way add up to
    what the score gains on it. So each part knows what its nodes (Gauss-Legendre) have missed, and
    is halved where that is too much: a classifier's probability may change on a short part only.

    Args:
        slopes: called for the points of all texts at once, a few times.
        count: N.
        tolerance: what the weights of a text may miss; more only where the parts become too short.
    """
    texts = np.arange(count)
    ends, _ = slopes(np.tile(texts, 2), np.repeat([0.0, 1.0], count))
    baselines, scores = ends.astype(np.float64).reshape(2, count)
    panel = _Panel(texts, np.zeros(count), np.ones(count), baselines, scores)
    weights = np.zeros((count, 0))
    left = np.full(count, tolerance)  # of each text
    for halving in range(_HALVINGS + 1):
        found, middles = _quadrature(slopes, panel)
        weights = weights if weights.size else np.zeros((count, found.shape[1]))
        gaps = np.abs(found.sum(axis=1) - (panel.highs - panel.lows))
        done = _good(panel.texts, gaps, left) | (halving == _HALVINGS)
        np.add.at(weights, panel.texts[done], found[done])
        if done.all():
            break
        panel = _halves(_Panel(*(values[~done] for values in panel)), middles[~done])
    return Integrated(weights, scores, baselines, np.abs(weights.sum(axis=1) - scores + baselines))


def _quadrature(slopes: Slopes, panel: _Panel) -> tuple[np.ndarray, np.ndarray]:
    """What each token adds on each part of a way [parts, T], and the scores in their middles."""
    nodes, shares = np.polynomial.legendre.leggauss(_NODES)  # on [-1, 1]
    halves = (panel.ends - panel.starts) / 2
    places = (panel.starts + halves)[:, None] + halves[:, None] * nodes
    scores, slope = slopes(np.repeat(panel.texts, _NODES), places.ravel())
    slope = slope.reshape(len(halves), _NODES, -1).astype(np.float64)
    found = np.einsum("k,pkt->pt", shares, slope) * halves[:, None]
    return found, scores.reshape(-1, _NODES)[:, _NODES // 2].astype(np.float64)


def _good(texts: np.ndarray, gaps: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Which parts are good enough [parts]; what they miss is taken from what is left to a text.

    None may take more than the half of it, or the rest of the way would have nothing.
    """
    good = np.zeros(len(gaps), bool)
    for part in np.argsort(gaps, kind="stable"):
        good[part] = gaps[part] <= left[texts[part]] / 2
        left[texts[part]] -= gaps[part] * good[part]
    return good


def _halves(panel: _Panel, middles: np.ndarray) -> _Panel:
    """Twice as many parts; `middles` are the scores there."""
    places = (panel.starts + panel.ends) / 2
    first = panel._replace(ends=places, highs=middles)
    second = panel._replace(starts=places, lows=middles)
    return _Panel(*(np.concatenate(values) for values in zip(first, second, strict=True)))


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
