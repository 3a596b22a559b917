"""What is said of rules and of what they gave."""

import numpy as np
import pandas as pd
import pytest

from bertjax.data.weak_labels import Fault, Votes, majority_vote, weak_labels
from bertjax.errors import UserError
from bertjax.workflows.label_facts import (
    Gold,
    count_labels,
    describe_rules,
    facts_table,
    score_gold,
)

VOTES = Votes(
    np.array([[0, 0], [1, -1], [0, 1], [-1, -1]]),
    ("ham", "spam"),
    {"second": Fault(1, 1, KeyError("no\nsuch"))},
    (),
)


def test_faults_and_weights_stand_beside_their_rule():
    first, second = describe_rules(["first", "second"], VOTES, np.array([0.75, np.nan]), None)
    assert (first["weight"], first["faults"], first["first_fault"]) == (0.75, 0, None)
    assert first["classes"] == ["ham", "spam"]
    assert second["weight"] is None
    assert second["first_fault"] == {"row": 1, "error": r"KeyError: 'no\nsuch'"}


def test_true_labels_are_compared_by_name():
    frame = pd.DataFrame({"tag": ["spam", None, "eggs", "ham"]})
    gold = Gold.of(frame, "tag", VOTES.classes, "table.csv")
    assert gold.targets.tolist() == [1, -1, 2, 0]
    assert gold.classes == ("ham", "spam", "eggs")
    with pytest.raises(
        UserError, match=r"no label of the column 'tag' is .* 'b', and there is 'eg"
    ):
        Gold.of(frame, "tag", ("a", "b"), "table.csv")
    with pytest.raises(UserError, match="and there is nothing"):
        Gold.of(pd.DataFrame({"tag": [None, ""]}), "tag", ("a", "b"), "table.csv")


def test_true_labels_of_rows_without_a_weak_one_give_no_scores():
    gold = Gold("tag", np.array([-1, -1, 0, 1]), VOTES.classes)
    probabilities = majority_vote(VOTES.matrix, 2)
    labels = weak_labels(VOTES.matrix, probabilities)
    assert count_labels(VOTES, labels) == {
        "labelled": 2,
        "uncovered": 1,
        "tied": 1,
        "classes": {"ham": 1, "spam": 1},
    }
    found = score_gold(gold, VOTES, labels, probabilities)
    assert (found["rows"], found["compared"], found["scores"]) == (2, 0, None)
    assert found["majority_accuracy"] is None


def test_the_table_folds_long_names_and_fits_a_terminal():
    names = ["rule_" + "x" * 100, "second"]
    votes = VOTES._replace(classes=("c" * 90, "d" * 90))
    labels = np.array([0, 1, -1, -1])
    facts = {
        "data": {"rows": 4, "empty_texts": 1},
        "rules": describe_rules(names, votes, np.array([0.75, np.nan]), None),
        "combine": "label-model",
        **count_labels(votes, labels),
        "gold": None,
    }
    lines = facts_table(facts).splitlines()
    assert lines[1].split()[-5:] == ["75.0%", "50.0%", "25.0%", "0", "0.750"]
    assert lines[2].split()[-2:] == ["1", "-"]
    assert "rows with an empty text: 1" in lines
    assert max(map(len, lines)) <= 130
