import numpy as np

from bertjax.evaluation.importance import (
    integrated_gradients,
    lime_words,
    sum_by_word,
    words_of,
)


def slopes_of(function, gradient, starts, ends):
    """Of texts with tokens of width 1, from the function and its gradient; counts the points."""
    starts, ends = np.array(starts, float), np.array(ends, float)
    asked = []

    def slopes(texts, places):
        asked.extend(places)
        change = (ends - starts)[texts]
        points = starts[texts] + places[:, None] * change
        values = np.array([function(point) for point in points])
        return values, np.array([gradient(point) for point in points]) * change

    return slopes, asked


def quadratic(x):
    return 3 * x[0] ** 2 - x[1] ** 2 + 2 * x[0] * x[1] + x[2]


def quadratic_gradient(x):
    return np.array([6 * x[0] + 2 * x[1], -2 * x[1] + 2 * x[0], 1.0])


def test_a_quadratic_is_divided_exactly():
    starts, ends = [[0, 0, 0], [1, 1, 1]], [[2, 1, 5], [1, 2, 1]]
    slopes, asked = slopes_of(quadratic, quadratic_gradient, starts, ends)
    found = integrated_gradients(slopes, 2)
    # The squares are each their own; the product 2 x y = 4 is shared by halves. Of the second text
    # y alone moves, from 1 to 2 where x is 1.
    np.testing.assert_allclose(found.weights, [[12 + 2, -1 + 2, 5], [0, -4 + 1 + 2, 0]], atol=1e-12)
    np.testing.assert_allclose(found.scores, [20, 5 - 1])
    np.testing.assert_allclose(found.baselines, [0, 5])
    assert max(found.gaps) < 1e-12
    assert len(asked) == 2 * (2 + 9)


def test_a_part_where_the_score_jumps_is_halved_until_it_is_exact():
    def sigmoid(x):
        return 1 / (1 + np.exp(-200 * (x[0] + x[1] - 0.6)))

    def gradient(x):
        return np.full(2, 200 * sigmoid(x) * (1 - sigmoid(x)))

    slopes, asked = slopes_of(sigmoid, gradient, [[0, 0], [0, 0]], [[0.5, 1.5], [0.1, 0.1]])
    found = integrated_gradients(slopes, 2, 1e-4)
    np.testing.assert_allclose(found.weights[0], [0.25, 0.75], atol=1e-4)
    np.testing.assert_allclose(found.weights[1], [0, 0], atol=1e-4)
    assert max(found.gaps) < 1e-4
    assert len(asked) < 200  # most of the way is not halved


def test_the_gap_is_what_cannot_be_found():
    slopes, asked = slopes_of(lambda x: float(x[0] > 0.3), lambda x: np.zeros(1), [[0.0]], [[1.0]])
    found = integrated_gradients(slopes, 1)
    assert found.weights.tolist() == [[0]]
    assert found.gaps.tolist() == [1]
    assert len(asked) == 2 + 9 * (1 + 2 * 6)


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
