import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.evaluation.behaviour import Direction, Invariance, Minimum
from bertjax.evaluation.behaviour_outcomes import run_tests

LABELS = ("animals", "money")
ROWS = ["a cat", "a bank", "a cat in a bank"]


def probabilities(texts):
    """0.4 of the other for `cat`, 0.3 less for `bank`, and 0.05 for a full stop."""
    money = [
        0.5 - 0.4 * ("cat" in text) + 0.3 * ("bank" in text) - 0.05 * text.endswith(".")
        for text in texts
    ]
    return np.stack([1 - np.array(money), money], axis=1)


def outcome_of(test, rows=ROWS):
    [outcome] = run_tests({"it": test}, probabilities, LABELS, rows)
    return outcome


def test_an_invariance_fails_where_the_prediction_changes():
    outcome = outcome_of(Invariance(lambda text: text.replace("bank", "cat")))
    assert (outcome.kind, outcome.must) == ("invariance", "the prediction stays")
    # `a cat` is not changed, and `a cat in a bank` was of animals before.
    assert (outcome.cases, outcome.failed, outcome.raised) == (2, 1, 0)
    [case] = outcome.examples
    assert (case.text, case.changed) == ("a bank", "a cat")
    assert case.was == ("money", pytest.approx(0.8))
    assert case.became == ("animals", pytest.approx(0.9))


def test_a_direction_fails_where_the_probability_moves_the_wrong_way():
    falls = Direction("money", lambda text: text + ".")
    outcome = outcome_of(falls)
    assert (outcome.kind, outcome.must) == (
        "direction",
        "money does not fall by more than 0.01",
    )
    assert (outcome.cases, outcome.failed) == (3, 3)
    assert outcome.examples[0].was[0] == outcome.examples[0].became[0] == "money"
    assert outcome_of(Direction("money", falls.change, tolerance=0.06)).failed == 0
    assert outcome_of(Direction("money", falls.change, rises=False)).failed == 0
    up = outcome_of(Direction("animals", falls.change, rises=False, tolerance=0))
    assert (up.must, up.failed) == ("animals does not rise", 3)


def test_the_worst_failures_come_first_and_some_are_kept():
    rows = [f"{i} bank" for i in range(9)]
    test = Direction("money", lambda t: t.replace("bank", "cat" if t[0] == "7" else "bank."))
    outcome = outcome_of(test, rows)
    assert outcome.failed == 9
    assert len(outcome.examples) == 5
    assert outcome.examples[0].changed == "7 cat"


def test_a_minimum_fails_where_another_class_is_predicted():
    outcome = outcome_of(Minimum("money", ["bank", "cat", "cat bank"]))
    assert (outcome.must, outcome.cases, outcome.failed) == ("the prediction is money", 3, 2)
    case = outcome.examples[0]
    assert (case.text, case.changed) == ("cat", None)
    assert case.was == ("money", pytest.approx(0.1))
    assert case.became == ("animals", pytest.approx(0.9))


def test_own_texts_are_taken_and_several_changes_are_several_cases():
    test = Invariance(lambda text: (text + word for word in (" cat", " bank", "")), ["x bank"])
    outcome = outcome_of(test)
    assert (outcome.cases, outcome.failed) == (2, 1)
    assert outcome_of(Invariance(lambda text: None)).cases == 0
    assert outcome_of(Invariance(str.upper), []).cases == 0


def test_a_change_that_raises_is_counted_and_told():
    def change(text):
        if "bank" in text:
            raise KeyError("bank\nholiday")
        return 3 if text == "a cat" else text

    outcome = outcome_of(Invariance(change))
    assert (outcome.cases, outcome.raised) == (0, 3)
    assert outcome.error == "TypeError: it gave 3, expected a text"
    assert outcome_of(Invariance(change), ["a bank"]).error == r"KeyError: 'bank\nholiday'"


def test_each_text_is_predicted_once_for_all_tests():
    asked = []

    def recorded(texts):
        asked.append(list(texts))
        return probabilities(texts)

    tests = {
        "a": Invariance(str.upper),
        "b": Invariance(str.upper),
        "c": Minimum("money", ["a bank"]),
    }
    outcomes = run_tests(tests, recorded, LABELS, ROWS)
    assert [outcome.name for outcome in outcomes] == ["a", "b", "c"]
    assert len(asked) == 1
    assert sorted(asked[0]) == sorted({*ROWS, *map(str.upper, ROWS)})


def test_a_class_that_the_model_lacks_is_refused():
    with pytest.raises(UserError) as caught:
        run_tests({"more snow": Direction("snow", str.upper)}, probabilities, LABELS, ROWS)
    assert str(caught.value) == (
        "the behavioural test more snow is about the class 'snow', which the model does not have: "
        "it has animals, money"
    )
