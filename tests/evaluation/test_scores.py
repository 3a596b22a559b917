import json

import numpy as np
import pytest

from bertjax.evaluation.scores import TABLE_WIDTH, classification_scores, scores_table

# True 0 0 0 1 1 2, predicted 0 0 1 1 2 2; class 3 is neither.
TARGETS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.eye(4)[[0, 0, 1, 1, 2, 2]]
LABELS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def scores():
    return classification_scores(TARGETS, PROBABILITIES, LABELS)


def test_scores_by_hand(scores):
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["support"] == 6
    expected = {
        "a": (1, 2 / 3, 4 / 5, 3),
        "b": (1 / 2, 1 / 2, 1 / 2, 2),
        "c": (1 / 2, 1, 2 / 3, 1),
        "d": (0, 0, 0, 0),
    }
    for label, row in expected.items():
        assert tuple(scores["per_class"][label].values()) == pytest.approx(row)
    rows = np.array([row[:3] for row in expected.values()])
    macro, weighted = rows.mean(axis=0), rows.T @ [3 / 6, 2 / 6, 1 / 6, 0]
    for i, name in enumerate(("precision", "recall", "f1")):
        assert scores[f"macro_{name}"] == pytest.approx(macro[i])
        assert scores[f"weighted_{name}"] == pytest.approx(weighted[i])


def test_the_matrix_has_a_row_a_true_class_and_a_column_a_predicted_one(scores):
    assert scores["confusion_matrix"] == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_scores_survive_json(scores):
    assert json.loads(json.dumps(scores)) == scores


def test_the_order_of_the_rows_changes_nothing(scores):
    order = np.random.default_rng(0).permutation(6)
    assert classification_scores(TARGETS[order], PROBABILITIES[order], LABELS) == scores


@pytest.mark.parametrize(
    ("targets", "probabilities"),
    [(TARGETS, PROBABILITIES[:, :3]), (TARGETS[:5], PROBABILITIES), ([], np.zeros((0, 4)))],
)
def test_shapes_that_do_not_agree_are_refused(targets, probabilities):
    with pytest.raises(ValueError, match="expected probabilities"):
        classification_scores(targets, probabilities, LABELS)


def test_the_table_reads(scores):
    assert scores_table(scores).splitlines() == [
        "                  precision  recall      f1  support",
        "a                     1.000   0.667   0.800        3",
        "b                     0.500   0.500   0.500        2",
        "c                     0.500   1.000   0.667        1",
        "d                     0.000   0.000   0.000        0",
        "",
        "accuracy                              0.667        6",
        "macro average         0.500   0.542   0.492        6",
        "weighted average      0.750   0.667   0.678        6",
        "",
        "confusion matrix (rows true, columns predicted)",
        "     1  2  3  4",
        "1 a  2  1  0  0",
        "2 b  0  1  1  0",
        "3 c  0  0  1  0",
        "4 d  0  0  0  0",
    ]


def test_the_table_has_a_line_on_calibration_where_that_is_known(scores):
    calibration = {"temperature": 1.0, "log_loss": 0.4321, "expected_calibration_error": 0.05}
    calibration |= {"uncalibrated_log_loss": 0.5, "uncalibrated_expected_calibration_error": 0.1}
    line = "log loss 0.432, expected calibration error 0.050"
    lines = scores_table({**scores, "calibration": calibration}).splitlines()
    assert lines[9:12] == ["", line, ""]
    lines = scores_table({**scores, "calibration": calibration | {"temperature": 1.5}}).splitlines()
    assert lines[10] == f"{line} (without temperature 1.50: 0.500, 0.100)"


@pytest.mark.parametrize("classes", [2, 15, 200])
def test_long_and_many_labels_stay_within_the_width(classes):
    rng = np.random.default_rng(0)
    labels = [
        f"a label that\nis rather long, number {i} of {'many ' * 9}{i}" for i in range(classes)
    ]
    scores = classification_scores(
        rng.integers(0, classes, 5000), rng.random((5000, classes)), labels
    )
    lines = scores_table(scores).splitlines()
    assert max(map(len, lines)) <= TABLE_WIDTH
    assert len({line for line in lines if line.startswith("a label")}) == classes


def test_a_matrix_that_is_too_wide_gives_way_to_its_largest_confusions():
    classes = 40
    targets = np.array([0] * 5 + [1] * 3 + [2])
    predictions = np.eye(classes)[[7] * 5 + [9] * 3 + [2]]
    table = scores_table(classification_scores(targets, predictions, [f"c{i}" for i in range(40)]))
    assert table.splitlines()[-3:] == [
        "most frequent of 2 confusions (true -> predicted)",
        "      5  c0 -> c7",
        "      3  c1 -> c9",
    ]
