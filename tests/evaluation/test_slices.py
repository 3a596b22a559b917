"""Groups of rows, and where they differ for sure."""

import numpy as np
import pytest

from bertjax.evaluation.slices import Slice, Texts, function_slice, slice_scores, standard_slices


def by_rows(slices: list[Slice]) -> dict[str, list[int]]:
    return {one.name: np.flatnonzero(one.rows).tolist() for one in slices}


def test_a_function_that_raises_on_a_row_is_counted_and_goes_on():
    def question(row):
        """Texts that ask."""
        return row["text"].endswith("?")

    found = function_slice("question", question, [{"text": "a?"}, {"text": None}, {"text": "b"}])
    assert found.rows.tolist() == [True, False, False]
    assert found.failed == (1,)
    assert found.error == "AttributeError: 'NoneType' object has no attribute 'endswith'"
    assert found.says == "Texts that ask."


def test_an_object_as_snorkel_makes_them_will_do():
    class SlicingFunction:
        name = "short_link"

        def __call__(self, row) -> int:
            return {"a": 1, "b": 0, "c": -1}[row]

    found = function_slice("short_link", SlicingFunction(), "abc")
    assert found.rows.tolist() == [True, False, False]
    assert found.says == "by a function of yours"


def test_an_answer_of_numpy_will_do():
    found = function_slice("odd", lambda row: np.bool_(row % 2), [1, 2, 3])
    assert found.rows.tolist() == [True, False, True]


def texts(**changes) -> Texts:
    """Of 1, 2, 3, ... 8 words, all of which are in two texts at least."""
    values = {
        "lengths": np.arange(1, 9),
        "words": [["a"], ["a", "b"], ["b"], ["a"], ["a"], ["b"], ["a"], ["b"]],
        "targets": np.array([0, 1] * 4),
        "truncated": np.zeros(8, bool),
        **changes,
    }
    return Texts(**values)


def test_the_built_in_slices():
    found = by_rows(standard_slices(texts(truncated=np.arange(8) > 6), ["x", "y"]))
    assert found == {
        "short texts": [0, 1],
        "long texts": [6, 7],
        "truncated": [7],
        "class x": [0, 2, 4, 6],
        "class y": [1, 3, 5, 7],
    }


def test_empty_texts_are_not_short_ones():
    lengths = np.array([0, 0, 3, 4, 5, 6, 7, 8])
    found = by_rows(standard_slices(texts(lengths=lengths), ["x", "y"]))
    assert found["empty texts"] == [0, 1]
    assert found["short texts"] == [2, 3]


def test_slices_of_all_rows_or_none_are_left_out():
    one = texts(targets=np.zeros(8, int), lengths=np.full(8, 3), trained=np.ones(8, bool))
    assert standard_slices(one, ["x", "y"]) == []


def test_rare_words_are_those_of_no_other_text():
    words = [["a", "b", "new"], ["a", "b", "c", "d", "e", "also"], ["a", "b", "c"], ["d", "e"]]
    few = {"lengths": np.arange(1, 5), "targets": np.zeros(4, int), "truncated": np.zeros(4, bool)}
    new = {**few, "trained": np.arange(4) > 3}
    own = {**few, "trained": np.arange(4) >= 0}
    found = by_rows(standard_slices(texts(words=words, **few), ["x"]))
    assert found["rare words"] == [0]  # a third of its words; of row 1 a sixth
    known = [["new", "also", "a", "b", "c"]] * 2
    found = by_rows(standard_slices(texts(words=words, known=known, **new), ["x"]))
    assert found["rare words"] == [1, 3]
    found = by_rows(standard_slices(texts(words=words, known=words, **own), ["x"]))
    assert found["rare words"] == [0]


def test_texts_that_were_trained_on_are_apart():
    found = by_rows(standard_slices(texts(trained=np.arange(8) < 5), ["x", "y"]))
    assert found["not trained on"] == [5, 6, 7]
    assert found["trained on"] == [0, 1, 2, 3, 4]


def scored(rows: int, wrong: list[int], *slices: Slice) -> list[dict]:
    targets = np.arange(rows) % 2
    predicted = targets.copy()
    predicted[wrong] = 1 - predicted[wrong]
    return slice_scores(slices, targets, np.eye(2)[predicted], ["x", "y"])


def test_a_slice_is_measured_by_itself_and_beside_the_others():
    first = Slice("first", "the first 40", np.arange(100) < 40)
    (found,) = scored(100, list(range(20)), first)
    assert (found["rows"], found["share"]) == (40, 0.4)
    assert found["accuracy"] == 0.5
    assert found["difference"] == pytest.approx(0.5 - 0.8)
    low, high = found["difference_interval"]
    # 0.6 times Newcombe's interval of 20/40 less 60/60
    assert (low, high) == pytest.approx((0.6 * -0.6480, 0.6 * -0.3402), abs=2e-3)
    assert found["verdict"] == "worse"
    assert found["weighted_f1"] == pytest.approx(0.5)


def test_what_chance_explains_is_no_verdict():
    first = Slice("first", "", np.arange(100) < 40)
    (found,) = scored(100, [0, 1, 2, 50, 60, 70], first)
    assert found["difference"] < 0
    assert found["verdict"] == "same"


def test_few_rows_are_small_however_wrong_they_are():
    few = Slice("few", "", np.arange(200) < 19)
    many = Slice("many", "", np.arange(200) >= 19)
    assert [one["verdict"] for one in scored(200, list(range(19)), few, many)] == ["small"] * 2


def test_more_slices_ask_for_more_certainty():
    first = Slice("first", "", np.arange(200) < 50)
    wrong = [*range(9), *range(100, 109)]
    assert scored(200, wrong, first)[0]["verdict"] == "worse"
    assert scored(200, wrong, *[first] * 50)[0]["verdict"] == "same"


def test_slices_by_chance_get_no_verdict():
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(20):
        slices = [Slice("s", "", rng.random(300) < 0.3) for _ in range(8)]
        wrong = np.flatnonzero(rng.random(300) < 0.2).tolist()
        called += any(one["verdict"] in ("worse", "better") for one in scored(300, wrong, *slices))
    assert called <= 4  # of 20 tables; 1 is to be expected


def test_the_macro_average_is_of_the_classes_that_are_there():
    ones = Slice("class y", "", np.arange(100) % 2 == 1)
    (found,) = scored(100, [1], ones)
    assert found["macro_f1"] == pytest.approx(2 * 0.98 / 1.98)  # precision 1, recall 0.98


def test_a_slice_of_all_rows_differs_from_none():
    (found,) = scored(30, [1], Slice("all", "", np.ones(30, bool)))
    assert (found["difference"], found["verdict"]) == (0.0, "all")


def test_an_empty_slice_has_no_scores():
    (found,) = scored(10, [], Slice("none", "", np.zeros(10, bool)))
    assert found["rows"] == 0
    assert "accuracy" not in found
