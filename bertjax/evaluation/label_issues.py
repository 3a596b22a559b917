"""Labels that are likely wrong, by confident learning (Northcutt et al. 2021), through cleanlab."""

import warnings
from typing import NamedTuple

import numpy as np


class LabelIssue(NamedTuple):
    """A row whose label the model doubts."""

    row: int
    given: int  # class
    suggested: int  # class: the most probable one
    score: float  # probability of the given class; the lower, the worse


def find_label_issues(targets: np.ndarray, probabilities: np.ndarray) -> list[LabelIssue]:
    """The rows whose label is likely wrong, the worst first.

    They are few where the model was trained on these very rows: it has learned their labels.

    Args:
        targets: given classes [N] int, of two kinds at least.
        probabilities: [N, C], of which a row sums to 1.

    Raises:
        ValueError: all rows have one class, beside which no other can be told to be likelier.
        ModuleNotFoundError: cleanlab is not installed.
    """
    if len(np.unique(targets)) < 2:
        raise ValueError("label errors are found between classes, but there is one alone")
    from cleanlab.filter import find_label_issues as found_by_cleanlab
    from cleanlab.rank import get_label_quality_scores

    # Sums that differ from 1 by the rounding of float32 are refused.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    classes = targets.astype(np.int64)
    with warnings.catch_warnings():
        # Of a class with a single row or none, none can be flagged.
        warnings.filterwarnings("ignore", message="May not flag all label issues in class")
        rows = found_by_cleanlab(
            classes, exact, return_indices_ranked_by="self_confidence", n_jobs=1
        )
    scores = get_label_quality_scores(classes, exact, method="self_confidence")
    return [
        LabelIssue(row, int(classes[row]), int(exact[row].argmax()), float(scores[row]))
        for row in rows.tolist()
    ]
