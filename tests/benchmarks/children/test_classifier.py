from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.children.classifier import batched_logits, open_classifier, padded, softmax
from bertjax import load, save


def test_texts_are_padded_to_the_longest_of_their_batch() -> None:
    ids, mask = padded([np.array([7, 8]), np.array([9])])
    assert ids.tolist() == [[7, 8], [9, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]
    assert ids.dtype == mask.dtype == np.int32


def test_batches_are_of_similar_length_and_results_in_the_order_of_the_texts() -> None:
    shapes = []

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        shapes.append(ids.shape)
        return np.stack([ids[:, 0], mask.sum(1)], 1)

    texts = [np.full(length, 100 * length) for length in (5, 1, 4, 2, 3)]
    logits = batched_logits(forward, texts, size=2)
    assert shapes == [(2, 2), (2, 4), (1, 5)]
    assert logits.tolist() == [[500, 5], [100, 1], [400, 4], [200, 2], [300, 3]]
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(batched_logits(forward, texts, 2, pool.map), logits)


def test_softmax() -> None:
    probabilities = softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [0.5, 0.5]])


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "model"
    save(load(tiny_folder, "text-classification", labels=["a", "b", "c"]), path)
    return path


def test_ours_gives_the_same_from_tokens_and_from_text(folder: Path) -> None:
    classifier = open_classifier("bertjax", folder, "float32", threads=1)
    texts = ["rain", "a longer text about snow"]
    tokenizer = load(folder).tokenizer
    one_by_one = [
        softmax(classifier.forward(*padded([np.array(tokenizer(text)["input_ids"])])))[0]
        for text in texts
    ]
    found = classifier.probabilities(texts, 1)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, one_by_one, atol=1e-5)


def test_an_unknown_engine_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="no engine 'caffe'"):
        open_classifier("caffe", folder, "float32", threads=1)
