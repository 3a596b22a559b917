"""A new head is scikit-learn's logistic regression of the pooled output, to the logit."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bertjax.checkpoints.folder import Checkpoint, load
from bertjax.data.tokens import tokenize
from bertjax.models.heads import ModelOutput
from bertjax.workflows import probe
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.probe import Head, is_new, with_head
from bertjax.workflows.scoring import make_pass

CONFIG = FinetuneConfig(data="never", out="never")  # pyright: ignore[reportArgumentType]
TEXTS = ["cat", "rain snow wind and more rain than snow", "bank tax", "dog", "", "euro " * 40] * 5


@pytest.fixture(scope="module")
def start(tiny_folder) -> Checkpoint:
    return load(tiny_folder, "text-classification", list("abc"), allow=("classifier.*",))


@pytest.fixture(scope="module")
def ids(start) -> list[np.ndarray]:
    return tokenize(start.tokenizer, TEXTS, 64).ids


@pytest.fixture(scope="module")
def pooled(start, tiny_folder, ids) -> np.ndarray:
    """[N, D], each text in a row of its own."""
    encoder = load(tiny_folder, "feature-extraction")
    return np.asarray(outputs(encoder, ids).pooler_output, np.float64)


def outputs(checkpoint: Checkpoint, ids) -> ModelOutput:
    """Of N texts, padded: a shape a text would be a program each."""
    present = np.arange(64) < np.array([len(one) for one in ids])[:, None]  # [N, 64]
    rows = np.zeros(present.shape, np.int32)
    rows[present] = np.concatenate(ids)
    return jax.jit(checkpoint.model.apply)(checkpoint.params, None, rows, attention_mask=present)


def exact(**settings) -> LogisticRegression:
    return LogisticRegression(tol=1e-9, max_iter=10_000, **settings)


def fit_head(start: Checkpoint, ids, targets: np.ndarray, balanced: bool) -> Head | None:
    forward = make_pass(start, [64])
    return probe.fit_head(start, forward, ids, targets, balanced)


def fitted(start: Checkpoint, ids, labels, balanced=False) -> Checkpoint:
    head = fit_head(start, ids, np.array(labels), balanced)
    return with_head(start, CONFIG, lambda: head, lambda line: None)


def logits(checkpoint: Checkpoint, ids) -> np.ndarray:
    return np.asarray(outputs(checkpoint, ids).logits)


@pytest.mark.parametrize("weights", [None, "balanced"])
def test_logits_are_those_of_logistic_regression(start, ids, pooled, weights):
    labels = [0, 1, 2, 0, 2, 0] * 5
    expected = exact(class_weight=weights).fit(pooled, labels)
    found = logits(fitted(start, ids, labels, weights == "balanced"), ids)
    np.testing.assert_allclose(found, expected.decision_function(pooled), atol=1e-3)


def test_of_two_classes_the_difference_is(start, ids, pooled):
    labels = [0, 2, 2, 0, 2, 0] * 5
    expected = exact().fit(pooled, labels).decision_function(pooled)
    found = logits(fitted(start, ids, labels), ids)
    np.testing.assert_allclose(found[:, 2] - found[:, 0], expected, atol=1e-3)
    # The class without a text: no weight, and as improbable as the less frequent of the two.
    np.testing.assert_array_equal(np.ptp(found[:, 1]), 0)
    assert found[0, 1] <= 0


def test_probabilities_count_as_parts_of_rows(start, ids, pooled):
    """A text that is of two classes by halves is two rows that weigh a half."""
    hard = np.eye(3)[[0, 1, 2, 0, 2, 0] * 5]
    soft = np.where(np.arange(30)[:, None] < 6, (hard + hard[:, [1, 0, 2]]) / 2, hard)
    twice, parts = np.concatenate([pooled, pooled]), np.concatenate([hard, hard[:, [1, 0, 2]]])
    halves = np.where(np.arange(60) % 30 < 6, 0.5, np.where(np.arange(60) < 30, 1.0, 0.0))
    expected = exact().fit(twice, parts.argmax(axis=1), sample_weight=halves)
    found = logits(fitted(start, ids, soft), ids)
    np.testing.assert_allclose(found, expected.decision_function(pooled), atol=1e-3)
    certain = fit_head(start, ids, hard, False)
    same = fit_head(start, ids, hard.argmax(axis=1), False)
    assert certain is not None
    assert same is not None
    np.testing.assert_array_equal(certain.w, same.w)


def test_the_same_texts_give_the_same_bits_and_few_of_many_are_taken(start, ids, monkeypatch):
    labels = np.array([0, 1, 2, 0, 2, 0] * 5)
    first, again = (fit_head(start, ids, labels, False) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.w, again.w)
    monkeypatch.setattr(probe, "ROWS", 15)  # of 30: every second
    half = fit_head(start, ids, labels, False)
    alone = fit_head(start, ids[::2], labels[::2], False)
    assert half is not None
    assert alone is not None
    np.testing.assert_array_equal(half.w, alone.w)
    assert np.abs(half.w - first.w).max() > 1e-3


def test_nothing_is_fitted_to_one_class_or_to_what_is_no_number(start, ids):
    assert fit_head(start, ids, np.zeros(30, int), False) is None
    table = start.params["bert/embeddings/word_embeddings"]["embeddings"]
    broken = {"bert/embeddings/word_embeddings": {"embeddings": jnp.full_like(table, jnp.nan)}}
    lost = replace(start, params={**start.params, **broken})
    assert fit_head(lost, ids, np.array([0, 1] * 15), False) is None
    assert with_head(start, CONFIG, lambda: None, print) is start


def test_a_trained_head_is_kept_and_so_is_a_random_one_if_asked_for(start, run_folder):
    def never():
        raise AssertionError

    trained = load(run_folder)
    assert is_new(start)
    assert not is_new(trained)
    assert with_head(trained, CONFIG, never, print) is trained
    assert with_head(start, replace(CONFIG, head="random"), never, print) is start


def test_it_is_said_how_good_the_head_is(start, ids):
    head = fit_head(start, ids, np.array([0, 1, 2, 0, 2, 0] * 5), False)
    said: list[str] = []
    with_head(start, CONFIG, lambda: head, said.append)
    [line] = said
    assert head is not None
    assert line == (
        f"the new head begins as logistic regression, right on {head.accuracy:.1%} of its rows"
    )
