"""Scores of a classifier: accuracy, precision, recall, F1 and the confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TABLE_WIDTH = 100  # columns of a terminal
_LABEL_WIDTH = 40
_CONFUSIONS = 10  # shown where the whole matrix is too wide
_NAMES = ("precision", "recall", "f1")
_CALIBRATION = ("log_loss", "expected_calibration_error")


def classification_scores(
    targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    """Scores of the most probable class, ready for JSON.

    A class that is never predicted has precision 0; one that is absent from `targets` has recall
    and support 0 and counts in the macro averages.

    Args:
      targets: true classes [N] int.
      probabilities: [N, C] float; any scores of which the largest wins.
      labels: the C names.

    Returns:
      accuracy, weighted_* and macro_* of precision, recall and f1, support (N), per_class (a dict
      by label of precision, recall, f1, support), confusion_matrix (rows true, columns predicted)
      and labels.
    """
    targets, probabilities = np.asarray(targets), np.asarray(probabilities)
    if not len(targets) or probabilities.shape != (len(targets), len(labels)):
        raise ValueError(
            f"expected probabilities [N, C] = [{len(targets)}, {len(labels)}] with N > 0, "
            f"found {list(probabilities.shape)}"
        )
    predictions = probabilities.argmax(axis=1)

    from sklearn.metrics import confusion_matrix

    classes = np.arange(len(labels))
    scores: dict[str, Any] = {"accuracy": float((predictions == targets).mean())}
    for average in ("weighted", "macro"):
        averages = _precision_recall_f1(targets, predictions, classes, average)
        for name, value in zip(_NAMES, averages, strict=True):
            scores[f"{average}_{name}"] = float(value)
    scores["support"] = len(targets)
    matrix = confusion_matrix(targets, predictions, labels=classes)
    columns = (*_precision_recall_f1(targets, predictions, classes, None), matrix.sum(axis=1))
    scores["per_class"] = {
        label: dict(zip((*_NAMES, "support"), row, strict=True))
        for label, *row in zip(labels, *(column.tolist() for column in columns), strict=True)
    }
    scores["confusion_matrix"] = matrix.tolist()
    scores["labels"] = list(labels)
    return scores


def scores_table(scores: dict[str, Any]) -> str:
    """`classification_scores` as aligned text of at most 100 columns, to be printed.

    With a line on their `calibration`, if they have that.
    """
    names = [_fold(label) for label in scores["labels"]]
    width = max(map(len, ("weighted average", *names)))
    support = scores["support"]
    lines = [f"{'':{width}}  precision  recall      f1  support"]
    for name, row in zip(names, scores["per_class"].values(), strict=True):
        lines.append(_score_line(name, width, row, row["support"]))
    lines.append("")
    lines.append(f"{'accuracy':{width}}  {'':9}  {'':6}  {scores['accuracy']:6.3f}  {support:7d}")
    for average in ("macro", "weighted"):
        row = {key: scores[f"{average}_{key}"] for key in _NAMES}
        lines.append(_score_line(f"{average} average", width, row, support))
    if "calibration" in scores:
        lines += ["", _calibration_line(scores["calibration"])]
    return "\n".join([*lines, "", *_matrix_lines(scores["confusion_matrix"], names)])


def _precision_recall_f1(
    targets: np.ndarray, predictions: np.ndarray, classes: np.ndarray, average: Any
) -> tuple:
    """Averaged, or [C] each where `average` is None; 0 in place of 0 / 0."""
    from sklearn.metrics import precision_recall_fscore_support

    return precision_recall_fscore_support(
        targets,
        predictions,
        labels=classes,
        average=average,
        zero_division=0,  # pyright: ignore[reportArgumentType]  # declared for "warn" only
    )[:3]


def _score_line(name: str, width: int, row: dict[str, float], support: int) -> str:
    return (
        f"{name:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:6.3f}"
        f"  {support:7d}"
    )


def _calibration_line(calibration: dict[str, float]) -> str:
    loss, error = (calibration[name] for name in _CALIBRATION)
    line = f"log loss {loss:.3f}, expected calibration error {error:.3f}"
    if calibration["temperature"] == 1.0:
        return line
    loss, error = (calibration[f"uncalibrated_{name}"] for name in _CALIBRATION)
    return f"{line} (without temperature {calibration['temperature']:.2f}: {loss:.3f}, {error:.3f})"


def _matrix_lines(matrix: list[list[int]], names: list[str]) -> list[str]:
    """The matrix with numbered columns; where that is too wide, its largest confusions."""
    rows = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    width = max(map(len, rows))
    cell = 2 + max(len(str(number)) for number in (len(names), *np.ravel(matrix)))
    if width + cell * len(names) > TABLE_WIDTH:
        return _confusion_lines(matrix, names)
    header = "".join(f"{number:{cell}d}" for number in range(1, len(names) + 1))
    lines = ["confusion matrix (rows true, columns predicted)", " " * width + header]
    for row, counts in zip(rows, matrix, strict=True):
        lines.append(f"{row:{width}}" + "".join(f"{count:{cell}d}" for count in counts))
    return lines


def _confusion_lines(matrix: list[list[int]], names: list[str]) -> list[str]:
    found = [
        (count, names[true], names[predicted])
        for true, counts in enumerate(matrix)
        for predicted, count in enumerate(counts)
        if count and true != predicted
    ]
    found.sort(key=lambda confusion: -confusion[0])
    lines = [f"most frequent of {len(found)} confusions (true -> predicted)"]
    return lines + [f"{count:7d}  {a} -> {b}" for count, a, b in found[:_CONFUSIONS]]


def _fold(label: str) -> str:
    """One line, shortened in the middle: long labels of one table often begin alike."""
    label = " ".join(label.split())
    if len(label) <= _LABEL_WIDTH:
        return label
    half = (_LABEL_WIDTH - 1) // 2
    return f"{label[:half]}…{label[-half:]}"
