"""Votes of rules, what is to be known of them, and what becomes of them without Snorkel."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bertjax.data.weak_labels import (
    apply_rules,
    check_classes,
    majority_vote,
    rule_accuracies,
    rule_statistics,
    weak_labels,
)
from bertjax.errors import UserError

#                 one rule alone, two that agree, two that do not, none, three of which one differs
VOTES = np.array([[0, -1, -1], [1, 1, -1], [-1, 0, 1], [-1, -1, -1], [2, 2, 0]])


def rows(*values) -> list:
    return [SimpleNamespace(value=value) for value in values]


def says(row):
    return row.value


def refused(values, classes=None) -> str:
    with pytest.raises(UserError) as caught:
        apply_rules({"rule_a": says}, rows(*values), classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_classes_are_the_names_that_were_returned_in_their_order():
    votes = apply_rules({"a": says, "b": lambda row: "z"}, rows("y", None, "x", -1, np.str_("y")))
    assert votes.classes == ("x", "y", "z")
    assert_array_equal(votes.matrix, [[1, 2], [-1, 2], [0, 2], [-1, 2], [1, 2]])
    assert (votes.faults, votes.unused) == ({}, ())


def test_declared_classes_may_be_voted_for_by_name_or_number():
    classes = ["spam", "unheard of", "ham"]
    votes = apply_rules({"a": says}, rows(0, "ham", np.int64(2), -1, "spam"), classes)
    assert votes.classes == ("ham", "spam")
    assert votes.matrix[:, 0].tolist() == [1, 0, 0, -1, 1]
    assert votes.unused == ("unheard of",)


def test_a_rule_that_raises_abstains_and_is_counted():
    def fails(row):
        return row.value.lower()

    votes = apply_rules({"a": fails, "b": says}, rows("X", 3, "y", -1), ["x", "y", "X", "z"])
    assert votes.classes == ("X", "x", "y", "z")
    assert_array_equal(votes.matrix, [[1, 0], [-1, 3], [2, 2], [-1, -1]])
    assert list(votes.faults) == ["a"]
    assert votes.faults["a"][:2] == (2, 1)
    assert "'int' object has no attribute 'lower'" in str(votes.faults["a"].error)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "True"),
        (1.0, "1.0"),
        (["a"], "['a']"),
        ("", "''"),
        (" ", "' '"),
        (np.bool_(1), "np.True_"),
        (float("nan"), "nan"),
        (np.zeros((2, 1)), "array([[0.], [0.]])"),
    ],
)
def test_a_rule_that_returns_no_class_is_refused(value, shown):
    expected = f"rule_a returned {shown} for row 1"
    help_ = ": a rule returns the name of a class, or None to abstain"
    assert refused(["x", value]) == expected + help_
    assert refused(["x", value], ["x", "y"]).startswith(f"{expected}, but CLASSES are 'x', 'y'")


def test_numbers_need_a_list_of_classes():
    assert refused([None, 1]) == (
        "rule_a returned 1 for row 1: a rule that returns numbers needs CLASSES = [...] in its file"
    )


@pytest.mark.parametrize("value", [2, -2, "z", np.int64(7)])
def test_a_class_that_is_not_among_the_declared_ones_is_refused(value):
    assert refused([value], ["x", "y"]) == (
        f"rule_a returned {value!r} for row 0, but CLASSES are 'x', 'y': return one, or None to "
        "abstain"
    )


def test_rules_that_tell_no_classes_apart_are_refused():
    with pytest.raises(UserError, match="no rule votes on any of 2 rows: widen the rules"):
        check_classes(apply_rules({"a": says}, rows(None, -1)))
    with pytest.raises(UserError, match="in 1 row the rules vote for 'x' alone: a model learns"):
        check_classes(apply_rules({"a": says}, rows("x")))
    check_classes(apply_rules({"a": says}, rows("x", "y")))


def test_statistics_by_hand():
    statistics = rule_statistics(VOTES)
    assert_array_equal(statistics.coverage, [3 / 5, 3 / 5, 2 / 5])
    assert_array_equal(statistics.overlaps, [2 / 5, 3 / 5, 2 / 5])
    assert_array_equal(statistics.conflicts, [1 / 5, 2 / 5, 2 / 5])


def test_statistics_of_rules_that_never_vote_are_zero():
    for shares in rule_statistics(np.full((3, 2), -1)):
        assert_array_equal(shares, [0, 0])


def test_accuracies_leave_out_rows_without_a_true_class():
    # Of the first rule: right, right, not compared, wrong; of the third, both wrong.
    accuracies = rule_accuracies(VOTES, np.array([0, 1, 5, 0, 1]))
    assert_array_equal(accuracies, [2 / 3, 1 / 3, 0])
    accuracies = rule_accuracies(VOTES, np.array([0, -1, -1, 2, -1]))
    assert_array_equal(accuracies, [1, np.nan, np.nan])


def test_the_majority_vote_is_each_class_share_of_the_votes():
    expected = [[1, 0, 0], [0, 1, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3], [1 / 3, 0, 2 / 3]]
    np.testing.assert_allclose(majority_vote(VOTES, 3), expected)


def test_rows_without_votes_or_with_a_tie_have_no_weak_label():
    assert weak_labels(VOTES, majority_vote(VOTES, 3)).tolist() == [0, 1, -1, -1, 2]
    # A row without a vote has none whatever is believed of it.
    believed = np.array([[0.9, 0.1, 0.0]] * 5)
    assert weak_labels(VOTES, believed).tolist() == [0, 0, 0, -1, 0]
