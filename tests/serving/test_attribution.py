"""Weights of words add up, are the model's own gradients, and do not depend on texts beside."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.serving.attribution import Attribution, attribute, path_slopes
from bertjax.serving.predictor import Predictor
from bertjax.training.vocabulary import MODULE, PARAM

TEXTS = [
    *("the cat and the dog", "bank tax, euros!", "rain and snow " * 6, "", "  (rain)\n"),
    *("cat number 3", "bank bank tax euro number 3", "cat " * 300),
]


@pytest.fixture(scope="module")
def trained(run_folder) -> Predictor:
    return Predictor.load(run_folder)


@pytest.fixture(scope="module")
def found(trained) -> list[Attribution]:
    """Of each text the class that is predicted."""
    return attribute(trained, TEXTS, trained.probabilities(TEXTS).argmax(axis=1).tolist())


def test_weights_add_up_to_what_a_text_that_tells_nothing_lacks(trained, found):
    probabilities = trained.probabilities(TEXTS)
    tokens = [len(ids) - 2 for ids in trained.tokenize(TEXTS).ids]
    nothing = [
        trained.probabilities([" ".join([token] * count) for count in tokens])
        for token in ("[MASK]", "[UNK]", "[PAD]")
    ]
    for n, one in enumerate(found):
        number = probabilities[n].argmax()
        assert one.score == pytest.approx(probabilities[n, number], abs=1e-5)
        least = min(values[n, number] for values in nothing)
        assert one.baseline == pytest.approx(least, abs=1e-5)
        total = sum(word.weight for word in one.words)
        assert total == pytest.approx(one.score - one.baseline, abs=1e-3)
        assert one.gap < 1e-3
        assert one.text == TEXTS[n]
        assert [word.text for word in one.words] == TEXTS[n].split()


def test_words_that_only_the_class_has_weigh_more_than_those_of_all(found):
    words = found[TEXTS.index("bank bank tax euro number 3")].words
    weights = [word.weight for word in words]
    assert sum(weights[:4]) > 2 * sum(weights[4:])


def test_words_that_are_not_read_weigh_nothing(trained, found):
    weights = [word.weight for word in found[-1].words]
    read = trained.max_length - 2
    assert len(weights) == 300
    assert all(weights[:read])
    assert not any(weights[read:])


def test_other_texts_beside_change_nothing(trained, found):
    predicted = trained.probabilities(TEXTS[:1]).argmax(axis=1).tolist()
    [alone] = attribute(trained, TEXTS[:1], predicted)
    weights, beside = ([word.weight for word in one.words] for one in (alone, found[0]))
    np.testing.assert_allclose(weights, beside, atol=1e-5)
    assert alone.score == pytest.approx(found[0].score, abs=1e-5)
    assert attribute(trained, [], []) == []


def test_slopes_are_the_gradients_of_the_model_that_predicts(trained):
    checkpoint = trained.checkpoint
    text, number = "cat dog bank tax rain", 1  # no token twice: a row of the table is a token's
    [ids] = trained.tokenize([text]).ids
    start = np.where(np.isin(ids, checkpoint.tokenizer.all_special_ids), ids, 100)  # [UNK]
    slopes_of = path_slopes(trained, [start.astype(np.int32)], [ids], [number])
    _, [slopes] = slopes_of(np.array([0]), np.array([1.0]))
    table = checkpoint.params[MODULE][PARAM]

    def probability(table):
        params = {**checkpoint.params, MODULE: {PARAM: table}}
        logits = checkpoint.model.apply(params, None, jnp.asarray(ids)[None]).logits
        return jax.nn.softmax(logits[0] / trained.run.temperature)[number]

    gradient = jax.jit(jax.grad(probability))(table)[ids]
    change = table[ids] - table[100]
    expected = (gradient * change).sum(axis=1)
    np.testing.assert_allclose(slopes[1:-1], expected[1:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(slopes[[0, -1]], 0)  # [CLS] and [SEP] go no way


def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own(trained):
    config = replace(trained.checkpoint.config, problem_type="multi_label_classification")
    predictor = Predictor(replace(trained.checkpoint, config=config))
    values = predictor.probabilities(TEXTS[:1])
    [one] = attribute(predictor, TEXTS[:1], [1])
    assert one.score == pytest.approx(values[0, 1], abs=1e-5)
    total = sum(word.weight for word in one.words)
    assert total == pytest.approx(one.score - one.baseline, abs=1e-3)
