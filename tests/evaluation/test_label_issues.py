"""Labels that are likely wrong."""

import numpy as np
import pytest

from bertjax.evaluation.label_issues import find_label_issues


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """300 rows of 3 classes, predicted well, and sums that are off by the rounding of float32."""
    rng = np.random.default_rng(seed)
    targets = np.arange(300) % 3
    logits = 4.0 * np.eye(3)[targets] + rng.normal(size=(300, 3))
    powers = np.exp(logits).astype(np.float32)
    return targets, powers / powers.sum(axis=1, keepdims=True)


def test_labels_that_were_changed_are_found_and_the_worst_comes_first():
    targets, probabilities = drawn()
    changed = [0, 30, 60, 90, 120, 151, 201, 251]
    targets[changed] = (targets[changed] + 1) % 3
    found = find_label_issues(targets.astype(np.int32), probabilities)
    rows = [issue.row for issue in found]
    assert len(set(rows) & set(changed)) >= 7
    assert len(set(rows) - set(changed)) <= 2
    assert [issue.score for issue in found] == sorted(issue.score for issue in found)
    worst = found[0]
    assert worst.score == pytest.approx(float(probabilities[worst.row, worst.given]), abs=1e-6)
    assert (worst.given, worst.suggested) == (targets[worst.row], (targets[worst.row] - 1) % 3)


def test_right_labels_are_left_alone():
    assert find_label_issues(*drawn(1)) == []


def test_a_class_without_rows_does_no_harm():
    targets, probabilities = drawn(2)
    kept = targets < 2
    assert find_label_issues(targets[kept], probabilities[kept]) == []
    first = targets != 0
    assert find_label_issues(targets[first], probabilities[first]) == []


def test_one_class_alone_is_refused():
    with pytest.raises(ValueError, match="there is one alone"):
        find_label_issues(np.zeros(3, int), np.full((3, 2), 0.5))
