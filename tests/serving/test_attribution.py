"""Weights of words add up, are the model's own gradients, and do not depend on texts beside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.data.tokens import token_spans
from bertjax.serving.attribution import attribute, path_slopes
from bertjax.serving.predictor import Predictor
from bertjax.training.vocabulary import MODULE, PARAM

TEXTS = ["the cat and the dog", "bank tax, euros!", "rain and snow " * 6, "", "  (rain)\n"]


@pytest.fixture(scope="module")
def trained(run_folder) -> Predictor:
    return Predictor.load(run_folder)


def test_weights_add_up_to_what_a_text_of_unknown_words_lacks(trained):
    texts = [*TEXTS, "cat number 3"]
    probabilities = trained.probabilities(texts)
    classes = probabilities.argmax(axis=1)
    tokens = [len(ids) - 2 for ids in trained.tokenize(texts).ids]
    baselines = trained.probabilities([" ".join(["[MASK]"] * count) for count in tokens])
    for n, found in enumerate(attribute(trained, texts, classes.tolist())):
        assert found.score == pytest.approx(probabilities[n, classes[n]], abs=1e-5)
        assert found.baseline == pytest.approx(baselines[n, classes[n]], abs=1e-5)
        total = sum(word.weight for word in found.words)
        assert total == pytest.approx(found.score - found.baseline, abs=1e-3)
        assert found.gap < 1e-3
        assert found.text == texts[n]
        assert [word.text for word in found.words] == texts[n].split()


def test_words_that_make_the_class_weigh_most(trained):
    text = "a bank and a number"
    money = trained.labels.index("money")
    [found] = attribute(trained, [text], [money])
    assert max(found.words, key=lambda word: word.weight).text == "bank"


def test_slopes_are_the_gradients_of_the_model_that_predicts(checkpoint):
    predictor = Predictor(checkpoint)
    text, number = "cat dog bank tax rain", 1  # no token twice: a row of the table is a token's
    [ids] = predictor.tokenize([text]).ids
    spans = token_spans(checkpoint.tokenizer, [text], predictor.max_length)
    _, slopes = path_slopes(predictor, [ids], spans, [number])(np.array([1.0]))
    table = checkpoint.params[MODULE][PARAM]

    def probability(table):
        params = {**checkpoint.params, MODULE: {PARAM: table}}
        logits = checkpoint.model.apply(params, None, jnp.asarray(ids)[None]).logits
        return jax.nn.softmax(logits[0])[number]

    gradient = jax.grad(probability)(table)[ids]
    change = table[ids] - table[checkpoint.tokenizer.mask_token_id]
    expected = (gradient * change).sum(axis=1)
    np.testing.assert_allclose(slopes[0, 0, 1:-1], expected[1:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(slopes[0, 0, [0, -1]], 0)  # [CLS] and [SEP] go no way


def test_scores_between_are_of_one_way(checkpoint):
    predictor = Predictor(checkpoint)
    tokens = predictor.tokenize(TEXTS).ids
    spans = token_spans(checkpoint.tokenizer, TEXTS, predictor.max_length)
    slopes = path_slopes(predictor, tokens, spans, [0, 1, 2, 0, 1])
    h = 1e-2
    scores, found = slopes(np.array([0.5 - h, 0.5, 0.5 + h]))
    assert scores.shape == (3, 5)
    assert found.shape == (3, 5, max(map(len, tokens)))
    change = (scores[2] - scores[0]) / (2 * h)
    np.testing.assert_allclose(found[1].sum(axis=1), change, rtol=0.02, atol=1e-3)


def test_other_texts_beside_change_nothing(trained):
    together = attribute(trained, TEXTS, [0, 1, 2, 0, 1])
    [alone] = attribute(trained, TEXTS[1:2], [1])
    weights, beside = ([word.weight for word in one.words] for one in (alone, together[1]))
    np.testing.assert_allclose(weights, beside, atol=1e-5)
    assert alone.score == pytest.approx(together[1].score, abs=1e-5)
    assert attribute(trained, [], []) == []


def test_words_that_are_not_read_weigh_nothing(trained):
    text = "cat " * 300
    [found] = attribute(trained, [text], [0], steps=4)
    weights = [word.weight for word in found.words]
    read = trained.max_length - 2
    assert len(weights) == 300
    assert all(weights[:read])
    assert not any(weights[read:])


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_the_score_is_what_the_kind_of_head_gives(kind, packaged_folder, write_model, tmp_path):
    labels = ("a",) if kind == "regression" else ("a", "b")
    folder = write_model(
        tmp_path / "model", "text-classification", packaged_folder,
        num_hidden_layers=1, id2label=labels, problem_type=kind,
    )  # fmt: skip
    predictor = Predictor.load(folder)
    values = predictor.probabilities(TEXTS[:1])
    number = len(labels) - 1
    [found] = attribute(predictor, TEXTS[:1], [number])
    assert found.score == pytest.approx(values[0, number], abs=1e-5)
    total = sum(word.weight for word in found.words)
    assert total == pytest.approx(found.score - found.baseline, abs=1e-2)
