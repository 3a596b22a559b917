import numpy as np
import pytest

from bertjax.data.tokens import Pieces
from bertjax.models.configs import BertConfig
from bertjax.serving.answers import fallback_label, mean_of_pieces, to_probabilities

LOGITS = np.array([[1000.0, 1001.0], [-1000.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("single_label_classification", [[0.26894143, 0.7310586], [0.0, 1.0]]),
        ("multi_label_classification", [[1.0, 1.0], [0.0, 0.5]]),
        ("regression", LOGITS.tolist()),
    ],
)
def test_what_logits_mean_is_finite_for_any(problem, expected):
    config = BertConfig(id2label=("a", "b"), problem_type=problem)
    with np.errstate(over="raise", invalid="raise"):
        found = to_probabilities(LOGITS, config)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7, rtol=1e-6)


def test_no_logits_are_no_probabilities():
    found = to_probabilities(np.zeros((0, 2), np.float32), BertConfig(id2label=("a", "b")))
    assert found.shape == (0, 2)


def test_the_fallback_is_a_class_of_that_name_if_there_is_one():
    assert fallback_label(["a", "other"]) == "other"
    assert fallback_label(["a", "Others"]) == "uncertain"


def pieces_of(*texts: int) -> Pieces:
    count = max(texts) + 1 if texts else 0
    ids = [np.zeros(2, np.int32) for _ in texts]
    return Pieces(ids, np.array(texts, np.int64), np.zeros(count, bool))


def test_pieces_of_a_text_are_averaged():
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], np.float32)
    assert mean_of_pieces(values, pieces_of(0, 0, 1)).tolist() == [[2.0, 3.0], [5.0, 9.0]]


def test_texts_of_one_piece_keep_their_bits():
    values = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    assert mean_of_pieces(values, pieces_of(0, 1)) is values
