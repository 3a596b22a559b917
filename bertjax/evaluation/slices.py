"""Slices: groups of rows on which a classifier is looked at by itself.

N rows, C classes. A slice is built in (`standard_slices`) or made by functions of the user's
(`function_slice`); `slice_scores` says what each is worth, and where it differs for sure.
"""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertjax.evaluation.intervals import LEVEL, difference, wilson
from bertjax.evaluation.scores import classification_scores

SMALL = 20  # rows: of fewer, nothing is said
RARE = 1 / 3  # of the words of a text, from which it counts as one of rare words

_ABSTAIN = -1  # what Snorkel's functions answer for: not mine
_QUARTER = 25  # per cent of the texts that are short, and that are long


@dataclass(frozen=True)
class Slice:
    """Some of N rows."""

    name: str
    says: str  # which rows these are, in words
    rows: np.ndarray  # [N] bool
    failed: tuple[int, ...] = ()  # rows on which its function raised: they are not in it
    error: str = ""  # the first of these errors


@dataclass(frozen=True)
class Texts:
    """What the built-in slices are made of."""

    lengths: np.ndarray  # [N] int, in words
    words: Sequence[Sequence[str]]  # [N], those of each text by which rare ones are told
    targets: np.ndarray  # [N] int, true classes
    truncated: np.ndarray  # [N] bool
    trained: np.ndarray | None = None  # [N] bool: the model was trained on it; None: not known
    known: Sequence[Sequence[str]] = ()  # words of each text of the training, where known


def function_slice(name: str, function: Callable[[Any], Any], rows: Iterable[Any]) -> Slice:
    """The rows for which the function says yes: any true value but -1, which abstains.

    A row on which it raises is counted and left out.
    """
    said, failed, error = [], [], ""
    for number, row in enumerate(rows):
        try:
            answer = function(row)
            said.append(bool(answer) and answer != _ABSTAIN)
        except Exception as caught:
            said.append(False)
            failed.append(number)
            error = error or _one_line(caught)
    # That of an object is its class's, which tells nothing of this slice.
    says = inspect.getdoc(function) if inspect.isfunction(function) else None
    first = (says or "by a function of yours").partition("\n")[0]
    return Slice(name, first, np.array(said, bool), tuple(failed), error)


def standard_slices(texts: Texts, labels: Sequence[str]) -> list[Slice]:
    """Trained on or not, short, long, empty, truncated, of rare words, and of each class.

    One that has no row, or every row, is left out.
    """
    lengths, found = texts.lengths, []
    if texts.trained is not None:
        found.append(Slice("not trained on", "texts new to the model", ~texts.trained))
        found.append(Slice("trained on", "texts that the model was trained on", texts.trained))
    filled = lengths[lengths > 0]
    if len(filled):
        quarters = np.percentile(filled, (_QUARTER, 100 - _QUARTER))
        short, long = math.floor(quarters[0]), math.ceil(quarters[1])
        says = f"at most {short} words: the shortest quarter"
        found.append(Slice("short texts", says, (lengths > 0) & (lengths <= short)))
        found.append(
            Slice("long texts", f"at least {long} words: the longest quarter", lengths >= long)
        )
    found.append(Slice("empty texts", "no word at all", lengths == 0))
    found.append(Slice("truncated", "longer than what the model reads", texts.truncated))
    found.append(_rare(texts))
    for number, label in enumerate(labels):
        found.append(Slice(f"class {label}", "by the given label", texts.targets == number))
    return [one for one in found if 0 < one.rows.sum() < len(one.rows)]


def slice_scores(
    slices: Sequence[Slice], targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """What each slice is worth, ready for JSON.

    Args:
        targets: true classes [N] int.
        probabilities: [N, C].

    Returns:
        name, says, rows, share, failed (rows), error; and unless it is empty accuracy with its
        interval (Wilson), weighted_f1, macro_f1 (of the classes that it has), difference (of its
        accuracy from that of all rows) with its interval, and verdict: `worse` or `better` than
        the other rows, `same` where chance may explain it, `small`, or `all` rows. The verdicts
        hold together at 95 %: each interval behind one is the wider, the more slices there are
        (Bonferroni).
    """
    right = probabilities.argmax(axis=1) == targets
    tested = sum(SMALL <= one.rows.sum() <= len(targets) - SMALL for one in slices)
    level = 1 - (1 - LEVEL) / max(tested, 1)
    scored = []
    for one in slices:
        count = int(one.rows.sum())
        facts: dict[str, Any] = {
            "name": one.name,
            "says": one.says,
            "rows": count,
            "share": count / len(targets),
            "failed": list(one.failed),
            "error": one.error,
        }
        if count:
            facts |= _within(targets[one.rows], probabilities[one.rows], labels)
            facts |= _beside(right, one.rows, level)
        scored.append(facts)
    return scored


def _within(
    targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    scores = classification_scores(targets, probabilities, labels)
    present = [one["f1"] for one in scores["per_class"].values() if one["support"]]
    right = int((probabilities.argmax(axis=1) == targets).sum())
    return {
        "accuracy": scores["accuracy"],
        "accuracy_interval": list(wilson(right, len(targets))),
        "weighted_f1": scores["weighted_f1"],
        "macro_f1": float(np.mean(present)),
    }


def _beside(right: np.ndarray, rows: np.ndarray, level: float) -> dict[str, Any]:
    """How a slice differs from all rows, judged by the rows that are not in it.

    accuracy - accuracy of all = (1 - share) * (accuracy - accuracy of the others), so an interval
    of the latter, of two groups that share no row, gives one of the former.
    """
    count, total = int(rows.sum()), len(rows)
    others = total - count
    if not others:
        return {"difference": 0.0, "difference_interval": [0.0, 0.0], "verdict": "all"}
    own = int(right[rows].sum()), count
    rest = int(right[~rows].sum()), others
    share = count / total
    interval = [(1 - share) * end for end in difference(own, rest)]
    sure = difference(own, rest, level)
    verdict = "worse" if sure.high < 0 else "better" if sure.low > 0 else "same"
    if min(count, others) < SMALL:
        verdict = "small"
    gap = float(right[rows].mean() - right.mean())
    return {"difference": gap, "difference_interval": interval, "verdict": verdict}


def _rare(texts: Texts) -> Slice:
    """By the other texts of the training where they are known, else by the others of these."""
    counts = Counter(word for words in texts.known or texts.words for word in set(words))
    counted = np.ones(len(texts.words), bool)  # whether a text is one of these itself
    if texts.known and texts.trained is not None:
        counted = texts.trained
    rare = np.zeros(len(texts.words), bool)
    for row, words in enumerate(texts.words):
        distinct = set(words)
        alone = sum(counts[word] <= counted[row] for word in distinct)
        rare[row] = bool(distinct) and alone >= RARE * len(distinct)
    where = "that was trained on" if texts.known else "of the table"
    return Slice("rare words", f"a third or more of the words in no other text {where}", rare)


def _one_line(error: Exception) -> str:
    says = " ".join(str(error).split())
    return f"{type(error).__name__}: {says}" if says else type(error).__name__
