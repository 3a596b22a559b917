"""The words behind the surest predictions, in a report of `bertjax evaluate`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertjax.evaluation.figures import Tinted
from bertjax.evaluation.importance import LIME_SAMPLES, TOLERANCE, Word, lime_words
from bertjax.evaluation.report import Section
from bertjax.serving.attribution import attribute
from bertjax.serving.predictor import Predictor
from bertjax.workflows.evaluate_facts import storable
from bertjax.workflows.evaluate_rows import Rows
from bertjax.workflows.wording import plural

Facts = dict[str, Any]


def measure_explained(
    predictor: Predictor,
    rows: Rows,
    probabilities: np.ndarray,
    most: int,
    lime: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Facts:
    """What each word adds to the predictions that were surest: wrong ones, then half as many right.

    Args:
        probabilities: of the rows [N, C].
        most: wrong predictions.
        lime: whether LIME says so too, which predicts `LIME_SAMPLES` texts for each.

    Returns:
        method, tolerance, lime_samples, largest_gap, and texts: a list of row, text (as the model
        reads it), label, prediction, probability, baseline, gap, words (text, start, end, weight),
        and lime (such words, or None).
    """
    chosen = choose_rows(rows.targets, probabilities, most)
    if chosen:
        say(f"weighing the words of {plural(len(chosen), 'text')}")
    classes = probabilities.argmax(axis=1)
    texts = [storable(rows.texts[row]) for row in chosen]
    found = attribute(predictor, texts, classes[chosen].tolist())
    explained = [
        {
            "row": int(rows.numbers[row]),
            "text": one.text,
            "label": predictor.labels[rows.targets[row]],
            "prediction": predictor.labels[classes[row]],
            "probability": float(probabilities[row].max()),
            "baseline": one.baseline,
            "gap": one.gap,
            "words": [list(word) for word in one.words],
            "lime": _lime(predictor, one.text, int(classes[row])) if lime else None,
        }
        for row, one in zip(chosen, found, strict=True)
    ]
    return {
        "method": "integrated gradients",
        "tolerance": TOLERANCE,
        "lime_samples": LIME_SAMPLES if lime else None,
        "largest_gap": max((one.gap for one in found), default=0.0),
        "texts": explained,
    }


def choose_rows(targets: np.ndarray, probabilities: np.ndarray, most: int) -> list[int]:
    """The surest wrong predictions, `most` at most; then half as many of the surest right ones.

    Of the latter each class has its surest before one has two.
    """
    classes, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.argsort(-sureness, kind="stable")
    wrong = [int(row) for row in order if classes[row] != targets[row]][:most]
    seen = np.zeros(probabilities.shape[1], int)
    right = []
    for row in order:
        if classes[row] == targets[row]:
            right.append((int(seen[classes[row]]), int(row)))
            seen[classes[row]] += 1
    return wrong + [row for _, row in sorted(right, key=lambda pair: pair[0])][: -(-most // 2)]


def _lime(predictor: Predictor, text: str, number: int) -> list[list[Any]]:
    def probabilities(texts: Sequence[str]) -> np.ndarray:
        """By programs that serve all texts: many at once would get some of their own, each time."""
        pieces = predictor.tokenize(texts)
        return predictor.probabilities_of(pieces, predictor.classifier(pieces.ids))

    return [list(word) for word in lime_words(text, probabilities, number)]


def explained_section(facts: Facts) -> Section | None:
    """The texts with tinted words; None if there is none."""
    if not facts["texts"]:
        return None
    wrong = sum(one["label"] != one["prediction"] for one in facts["texts"])
    sentences = [
        f"{plural(wrong, 'wrong prediction')} and {len(facts['texts']) - wrong} right, the surest. "
        "A word on blue with a solid line speaks for the predicted class, one on orange with a "
        "dashed line against it: the stronger, the more.",
        "The weights of a text are by integrated gradients: they add up to what its probability "
        "has over that of a text of as many [MASK], [UNK] or [PAD], whichever makes the class "
        f"least likely, but for {max(facts['largest_gap'], 0.0001):.4f} at the most.",
    ]
    if facts["lime_samples"]:
        sentences.append(
            f"LIME's weights are of a linear model of {facts['lime_samples']} texts, each with "
            "some of the words left out."
        )
    figures = []
    for one in facts["texts"]:
        right = one["label"] == one["prediction"]
        verdict = "rightly" if right else f"labelled {one['label']}"
        title = f"Row {one['row']}: {one['prediction']} {one['probability']:.1%}, {verdict}"
        name, score = f"words-of-row-{one['row']}", one["prediction"]
        figures.append(Tinted(name, title, _parts(one["text"], one["words"]), score))
        if one["lime"] is not None:
            parts = _parts(one["text"], one["lime"])
            figures.append(Tinted(f"{name}-lime", f"{title}, by LIME", parts, score))
    return Section("words", "Words that carried predictions", tuple(sentences), tuple(figures))


def _parts(text: str, words: Sequence[Sequence[Any]]) -> tuple[tuple[str, float], ...]:
    """The whole text in order, with what stands between the words."""
    parts, end = [], 0
    for word in (Word(*values) for values in words):
        if word.start > end:
            parts.append((text[end : word.start], 0.0))
        parts.append((word.text, word.weight))
        end = word.end
    if end < len(text):
        parts.append((text[end:], 0.0))
    return tuple(parts)
