"""Votes and what follows from them, beside Snorkel's own."""

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bertjax.data.weak_labels import (
    apply_rules,
    fit_label_model,
    majority_vote,
    rule_accuracies,
    rule_statistics,
    weak_labels,
)
from bertjax.errors import UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from snorkel.labeling import LFAnalysis, PandasLFApplier, labeling_function
    from snorkel.labeling.model import LabelModel, MajorityLabelVoter

ACCURACIES = (0.95, 0.85, 0.7, 0.6)  # of four rules
CLASSES = 3


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).integers(0, CLASSES, 2000)


@pytest.fixture(scope="module")
def votes(truth) -> np.ndarray:
    """Of rules that are right as often as ACCURACIES says, and vote on half of the rows."""
    rng = np.random.default_rng(1)
    found = []
    for accuracy in ACCURACIES:
        other = (truth + rng.integers(1, CLASSES, len(truth))) % CLASSES
        said = np.where(rng.random(len(truth)) < accuracy, truth, other)
        found.append(np.where(rng.random(len(truth)) < 0.5, said, -1))
    return np.stack(found, axis=1)


@pytest.mark.filterwarnings("ignore:Input has data type:FutureWarning")  # of scipy, to Snorkel
def test_statistics_and_accuracies_equal_snorkels(votes, truth):
    analysis = LFAnalysis(votes)
    statistics = rule_statistics(votes)
    np.testing.assert_allclose(statistics.coverage, analysis.lf_coverages())
    np.testing.assert_allclose(statistics.overlaps, analysis.lf_overlaps())
    np.testing.assert_allclose(statistics.conflicts, analysis.lf_conflicts())
    expected = analysis.lf_empirical_accuracies(truth)
    np.testing.assert_allclose(rule_accuracies(votes, truth), expected)


def test_the_majority_is_snorkels_where_there_is_one(votes):
    ours = weak_labels(votes, majority_vote(votes, CLASSES))
    theirs = MajorityLabelVoter(cardinality=CLASSES).predict(votes, tie_break_policy="abstain")
    np.testing.assert_array_equal(ours, theirs)


def test_votes_equal_those_of_snorkels_applier():
    @labeling_function()
    def has_cat(row):
        return 1 if "cat" in row.text else -1

    @labeling_function(name="first", resources={"letter": "a"})
    def starts(row, letter):
        return 0 if row.text[0] == letter else -1

    frame = pd.DataFrame({"text": ["a cat", "", "the cat", "a dog", "dogs"]})
    rules = {rule.name: rule for rule in (has_cat, starts)}
    assert list(rules) == ["has_cat", "first"]
    ours = apply_rules(rules, [row for _, row in frame.iterrows()], ["a", "b"])
    applier = PandasLFApplier(list(rules.values()))
    theirs, meta = applier.apply(frame, progress_bar=False, fault_tolerant=True, return_meta=True)
    np.testing.assert_array_equal(ours.matrix, theirs)
    assert {name: fault.count for name, fault in ours.faults.items()} == dict(meta.faults)
    assert dict(meta.faults) == {"first": 1}


def test_the_label_model_knows_good_rules_from_bad_ones(votes, truth):
    model = fit_label_model(votes, CLASSES)
    np.testing.assert_allclose(model.weights, ACCURACIES, atol=0.1)
    assert (np.diff(model.weights) < 0).all()
    probabilities = model.probabilities(votes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    labels, counted = (
        weak_labels(votes, found) for found in (probabilities, majority_vote(votes, CLASSES))
    )
    covered = (votes >= 0).any(axis=1)
    assert (labels == truth)[covered].mean() > (counted == truth)[covered].mean() + 0.1


def test_it_is_snorkels_label_model_with_that_seed(votes):
    ours = fit_label_model(votes, CLASSES, seed=5)
    model = LabelModel(cardinality=CLASSES, verbose=False)
    model.fit(votes, seed=5, progress_bar=False)
    np.testing.assert_array_equal(ours.probabilities(votes), model.predict_proba(votes))
    np.testing.assert_array_equal(ours.weights, model.get_weights())


def test_random_numbers_of_the_process_go_on_as_before(votes):
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    fit_label_model(votes, CLASSES)
    assert (random.random(), np.random.random()) == expected


def test_rules_that_never_vote_are_left_out(votes):
    silent = np.full((len(votes), 1), -1)
    model = fit_label_model(np.hstack([votes[:, :2], silent, votes[:, 2:]]), CLASSES)
    plain = fit_label_model(votes, CLASSES)
    np.testing.assert_array_equal(model.weights[[0, 1, 3, 4]], plain.weights)
    assert np.isnan(model.weights[2])


def test_rows_of_one_vote_are_believed_as_that_rule_is(votes):
    model = fit_label_model(votes, CLASSES)
    alone = np.array([[2, -1, -1, -1], [-1, -1, -1, 2]])
    good, bad = model.probabilities(alone)
    assert good.argmax() == bad.argmax() == 2
    assert good[2] > bad[2] + 0.1


def test_a_label_model_that_does_not_converge_is_one_line(votes, monkeypatch):
    def fit(self, *_, **__):
        raise Exception("Loss is NaN. Consider reducing learning rate.")

    monkeypatch.setattr(LabelModel, "fit", fit)
    with pytest.raises(UserError, match="the label model of 4 rules does not converge: pass --com"):
        fit_label_model(votes, CLASSES)


def test_three_rules_of_one_row_have_a_label_model():
    model = fit_label_model(np.array([[0, 0, 1]]), 2)
    assert np.isfinite(model.probabilities(np.array([[0, 0, 1]]))).all()


def test_snorkels_rows_have_what_its_preprocessors_ask_for():
    from snorkel.preprocess import preprocessor

    @preprocessor()
    def lower(row):
        row.text = row.text.lower()
        return row

    @labeling_function(pre=[lower])
    def cat(row):
        return 0 if "cat" in row.text else 1

    frame = pd.DataFrame({"text": ["CAT", "dog"]})
    found = apply_rules({"cat": cat}, [row for _, row in frame.iterrows()], ["a", "b"])
    assert found.matrix[:, 0].tolist() == [0, 1]
    assert SimpleNamespace(**frame.iloc[0]).text == "CAT"
