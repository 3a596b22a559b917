import numpy as np
import pytest

from bertjax.evaluation.importance import (
    integrated_gradients,
    lime_words,
    sum_by_word,
    words_of,
)


def slopes_of(function, gradient, start, end):
    """Of one text with tokens of width 1, from the function and its gradient."""
    start, end = np.array(start, float), np.array(end, float)

    def slopes(places):
        points = start + places[:, None] * (end - start)
        values = np.array([function(point) for point in points])
        return values[:, None], np.array([gradient(point) * (end - start) for point in points])[
            :, None
        ]

    return slopes


def quadratic(x):
    return 3 * x[0] ** 2 - x[1] ** 2 + 2 * x[0] * x[1] + x[2]


def quadratic_gradient(x):
    return np.array([6 * x[0] + 2 * x[1], -2 * x[1] + 2 * x[0], 1.0])


@pytest.mark.parametrize("steps", [1, 2, 32])
def test_a_quadratic_is_divided_exactly(steps):
    slopes = slopes_of(quadratic, quadratic_gradient, [0, 0, 0], [2, 1, 5])
    found = integrated_gradients(slopes, steps)
    # The squares are each their own; the product 2 x y = 4 is shared by halves.
    np.testing.assert_allclose(found.weights, [[12 + 2, -1 + 2, 5]], atol=1e-12)
    np.testing.assert_allclose(found.scores, [20])
    np.testing.assert_allclose(found.baselines, [0])
    assert found.gaps[0] < 1e-12


def test_a_baseline_elsewhere_is_where_the_way_begins():
    slopes = slopes_of(quadratic, quadratic_gradient, [1, 1, 1], [1, 2, 1])
    found = integrated_gradients(slopes, 1)
    # y from 1 to 2 where x is 1: -4 + 1 + 2 (2 - 1)
    np.testing.assert_allclose(found.weights, [[0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(found.baselines, [5])


def test_the_gap_is_what_too_few_steps_miss():
    slopes = slopes_of(lambda x: x[0] ** 3, lambda x: 3 * x**2, [0], [1])
    found = integrated_gradients(slopes, 1)
    np.testing.assert_allclose(found.weights, [[0.75]])  # 3 x^2 in the middle
    np.testing.assert_allclose(found.gaps, [0.25])
    assert integrated_gradients(slopes, 2).gaps[0] < 1e-12


def test_words_are_runs_between_spaces_and_ideographs_by_themselves():
    text = " GPU-based,\t智能 и ты's"
    found = words_of(text)
    assert [word.text for word in found] == ["GPU-based,", "智", "能", "и", "ты's"]
    assert all(text[word.start : word.end] == word.text for word in found)
    assert words_of(" \n") == []


def test_pieces_of_a_word_are_summed_and_special_tokens_left_out():
    # [CLS] un ##known , words [SEP], and padding
    spans = [(0, 0), (0, 2), (2, 7), (7, 8), (9, 14), (0, 0)]
    weights = np.array([9.0, 1.0, 2.0, 0.5, -4.0, 9.0, 9.0, 9.0])
    found = sum_by_word("unknown, words", spans, weights)
    assert found == [("unknown,", 0, 8, 3.5), ("words", 9, 14, -4.0)]
    assert sum_by_word("a longer text", [(0, 0), (0, 1), (0, 0)], weights)[1:] == [
        ("longer", 2, 8, 0.0),
        ("text", 9, 13, 0.0),
    ]
    assert sum_by_word("", [(0, 0), (0, 0)], weights) == []


def good_or_not(texts):
    """0.2 more for each of two words, 0.4 less for a third."""
    scores = [
        0.5 + 0.2 * ("good" in text) + 0.2 * ("fine" in text) - 0.4 * ("bad" in text)
        for text in texts
    ]
    return np.stack([scores, 1 - np.array(scores)], axis=1)


def test_lime_finds_the_weights_of_a_linear_model():
    text = "a good, fine text but (bad)"
    found = lime_words(text, good_or_not, 0, samples=4000)  # few are shrunk by the ridge
    assert [text[word.start : word.end] for word in found] == text.split()
    weights = [word.weight for word in found]
    np.testing.assert_allclose(weights, [0, 0.2, 0.2, 0, 0, -0.4], atol=0.01)
    against = [word.weight for word in lime_words(text, good_or_not, 1, samples=4000)]
    np.testing.assert_allclose(against, np.negative(weights), atol=1e-9)
    again = lime_words(text, good_or_not, 0, samples=4000)
    assert again == found
    assert lime_words(text, good_or_not, 0, samples=4000, seed=1) != found


def test_lime_tells_words_apart_that_are_spelled_alike():
    def first(texts):
        values = np.array([float(text.startswith("x")) for text in texts])
        return np.stack([values, 1 - values], axis=1)

    found = lime_words("x y x", first, 0, samples=200)
    assert found[0].weight > 0.9
    assert abs(found[2].weight) < 0.1


def test_lime_asks_for_each_text_once():
    asked = []

    def probabilities(texts):
        asked.extend(texts)
        return good_or_not(texts)

    [word] = lime_words("$\\1人", probabilities, 0, samples=50)[:1]
    assert sorted(asked) == sorted(set(asked))
    assert word.text == "$\\1"
    assert lime_words(" ", probabilities, 0) == []
