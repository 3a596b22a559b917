"""What `bertjax evaluate` finds out about a run on a table: plain values, ready for JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertjax.data.cleaning import clean_text
from bertjax.data.exploration import word_counts
from bertjax.evaluation.calibration import calibration_scores, reliability
from bertjax.evaluation.intervals import wilson
from bertjax.evaluation.label_issues import find_label_issues
from bertjax.evaluation.scores import classification_scores
from bertjax.evaluation.slices import Texts, function_slice, slice_scores, standard_slices
from bertjax.evaluation.thresholds import (
    area_under_risk_coverage,
    at_threshold,
    thinned,
    threshold_curve,
    threshold_for,
)
from bertjax.serving.predictor import Predictor
from bertjax.workflows.evaluate_rows import Rows, Training, seen_in

Say = Callable[[str], None]
Facts = dict[str, Any]
SliceFunctions = Mapping[str, Callable[[Any], Any]]  # by name; each takes a row of the table

SINGLE_LABEL = "single_label_classification"
ACCURACIES = 0.9, 0.95, 0.99  # for which a threshold is looked for
_CONFIDENCES = 20  # bars of a histogram
_PREFIX = "slice_"


@dataclass(frozen=True)
class Evaluated:
    """N rows and what a run says of them."""

    rows: Rows
    classes: tuple[str, ...]  # C
    probabilities: np.ndarray  # [N, C] float32
    truncated: np.ndarray  # [N] bool
    problem_type: str
    temperature: float
    threshold: float | None

    @property
    def predictions(self) -> np.ndarray:
        """[N] int."""
        return self.probabilities.argmax(axis=1)

    @property
    def logits(self) -> np.ndarray:
        """[N, C], but for what all classes of a row share, which no probability depends on."""
        least = np.finfo(np.float32).tiny
        return self.temperature * np.log(np.maximum(self.probabilities, least))


def predict_rows(predictor: Predictor, rows: Rows, say: Say | None = None) -> Evaluated:
    """What the predictor makes of the rows; `say` is told how the texts are packed."""
    result = predictor.predict(rows.texts, say)
    return Evaluated(
        rows,
        predictor.labels,
        result.probabilities,
        result.truncated,
        predictor.checkpoint.config.resolved_problem_type,
        predictor.run.temperature,
        predictor.threshold,
    )


def scores_of(found: Evaluated) -> Facts:
    """What `evaluate` tells without a report."""
    scores = classification_scores(found.rows.targets, found.probabilities, found.classes)
    counts = {"dropped": found.rows.dropped, "truncated": int(found.truncated.sum())}
    if found.problem_type != SINGLE_LABEL:
        return {**scores, **counts}  # whose probabilities are not those of one class of several
    calibration = calibration_scores(found.rows.targets, found.logits, found.temperature)
    return {**scores, "calibration": calibration, **counts}


def measure(
    found: Evaluated, training: Training | None, functions: SliceFunctions, say: Say
) -> Facts:
    """All facts but the settings; `say` is told of the steps.

    Rows are counted from 0, as they stand in DATA. What could not be computed is {"skipped": why}.
    """
    rows = found.rows
    say(f"{len(rows.texts)} rows in {len(found.classes)} classes are predicted")
    trained = None if training is None else seen_in(training, rows.texts)
    slices = _slices(found, training, trained, functions)
    say(f"{len(slices)} slices are scored; looking for label errors")
    return {
        **scores_of(found),
        "accuracy_interval": list(_interval(found, np.ones(len(rows.texts), bool))),
        "data": {
            "rows": len(rows.texts),
            "text": list(rows.columns),
            "label": rows.label,
            "fingerprint": rows.fingerprint,
            "empty": sum(not text.strip() for text in rows.texts),
        },
        "model": {
            "problem_type": found.problem_type,
            "temperature": found.temperature,
            "threshold": found.threshold,
        },
        "training": _training(found, training, trained),
        "slices": slices,
        "reliability": _reliability(found),
        "thresholds": _thresholds(found),
        "label_issues": _label_issues(found),
        "wrong": _wrong(found),
    }


def _interval(found: Evaluated, among: np.ndarray) -> tuple[float, float]:
    right = (found.predictions == found.rows.targets)[among]
    return wilson(int(right.sum()), len(right))


def _training(found: Evaluated, training: Training | None, trained: np.ndarray | None) -> Facts:
    """How many of the rows were trained on, and the scores of the others."""
    if training is None or trained is None:
        return {"skipped": "the rows that the run was trained on are not known; --train names them"}
    facts: Facts = {"source": training.source, "rows": len(training.texts)}
    facts["trained_on"] = int(trained.sum())
    if new := int((~trained).sum()):
        scores = classification_scores(
            found.rows.targets[~trained], found.probabilities[~trained], found.classes
        )
        names = ("accuracy", "weighted_f1", "macro_f1")
        facts["others"] = {"rows": new, **{name: scores[name] for name in names}}
        facts["others"]["accuracy_interval"] = list(_interval(found, ~trained))
    return facts


def _slices(
    found: Evaluated,
    training: Training | None,
    trained: np.ndarray | None,
    functions: SliceFunctions,
) -> list[Facts]:
    """Those of the user's functions first."""
    rows = found.rows
    texts = Texts(
        word_counts(rows.texts),
        [clean_text(text).split() for text in rows.texts],
        rows.targets,
        found.truncated,
        trained,
        [clean_text(text).split() for text in training.texts] if training else (),
    )
    given = _rows_for_functions(rows) if functions else []
    own = [
        function_slice(name.removeprefix(_PREFIX), function, given)
        for name, function in functions.items()
    ]
    slices = [*own, *standard_slices(texts, found.classes)]
    scored = slice_scores(slices, rows.targets, found.probabilities, found.classes)
    for one in scored:
        one["failed"] = rows.numbers[one["failed"]].tolist()
        one |= {name: storable(one[name]) for name in ("name", "says", "error")}
    return scored


def _rows_for_functions(rows: Rows) -> list[Any]:
    """Each row as Snorkel gives it to a function: x.title, x["title"]; `text` is what is read."""
    import pandas as pd

    names, cells = list(rows.frame.columns), rows.frame.to_numpy(object)
    if "text" not in names:
        names.append("text")
        cells = np.column_stack([cells, np.array(rows.texts, object)])
    # Not iterrows, which fails on texts that UTF-8 cannot hold.
    return [pd.Series(row, names, dtype=object) for row in cells]


def _reliability(found: Evaluated) -> Facts:
    if found.problem_type != SINGLE_LABEL:
        return {"skipped": "each class has a probability of its own (multi-label)"}
    confidence = found.probabilities.max(axis=1)
    number = np.minimum((confidence * _CONFIDENCES).astype(int), _CONFIDENCES - 1)
    facts: Facts = {
        "bins": _bins(found.rows.targets, found.probabilities),
        "confidence": np.bincount(number, minlength=_CONFIDENCES).tolist(),
        "mean_confidence": float(confidence.mean()),
    }
    if found.temperature != 1.0:
        from scipy.special import softmax

        facts["uncalibrated_bins"] = _bins(found.rows.targets, softmax(found.logits, axis=1))
    return facts


def _bins(targets: np.ndarray, probabilities: np.ndarray) -> list[Facts]:
    """Those that hold a row, with the interval of their accuracy."""
    return [
        {
            **one._asdict(),
            "accuracy_interval": list(wilson(round(one.accuracy * one.count), one.count)),
        }
        for one in reliability(targets, probabilities)
        if one.count
    ]


def _thresholds(found: Evaluated) -> Facts:
    targets, probabilities = found.rows.targets, found.probabilities
    curve = threshold_curve(targets, probabilities)
    wanted = []
    for accuracy in ACCURACIES:
        threshold = threshold_for(curve, accuracy)
        reached = None if threshold is None else at_threshold(targets, probabilities, threshold)
        wanted.append({"wanted": accuracy, "reached": reached})
    own = found.threshold
    shown = thinned(curve)
    return {
        "area_under_risk_coverage": area_under_risk_coverage(curve, len(targets)),
        "error": float((found.predictions != targets).mean()),
        "own": None if own is None else at_threshold(targets, probabilities, own),
        "wanted": wanted,
        "curve": {name: values.tolist() for name, values in shown._asdict().items()},
    }


def _label_issues(found: Evaluated) -> Facts:
    if found.problem_type != SINGLE_LABEL:
        return {"skipped": "each class has a probability of its own (multi-label)"}
    if len(np.unique(found.rows.targets)) < 2:
        return {"skipped": "all rows have one label, beside which none is likelier"}
    issues = find_label_issues(found.rows.targets, found.probabilities)
    return {
        "issues": [
            {
                "row": int(found.rows.numbers[issue.row]),
                "given": found.classes[issue.given],
                "suggested": found.classes[issue.suggested],
                "score": issue.score,
                "suggested_score": float(found.probabilities[issue.row, issue.suggested]),
                "text": storable(found.rows.texts[issue.row]),
            }
            for issue in issues
        ]
    }


def _wrong(found: Evaluated) -> list[Facts]:
    """The rows that are predicted wrong, the surest first."""
    targets, predictions = found.rows.targets, found.predictions
    confidence = found.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != targets)
    return [
        {
            "row": int(found.rows.numbers[row]),
            "label": found.classes[targets[row]],
            "predicted": found.classes[predictions[row]],
            "score": float(confidence[row]),
            "label_score": float(found.probabilities[row, targets[row]]),
            "text": storable(found.rows.texts[row]),
        }
        for row in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist()
    ]


def storable(text: str) -> str:
    """The text as a file in UTF-8 can hold it: its lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
