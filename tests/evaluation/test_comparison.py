import numpy as np
import pytest

from bertjax.evaluation.comparison import bootstrap_differences, contingency, mcnemar
from bertjax.evaluation.scores import classification_scores


def test_rows_are_counted_by_who_has_them_right():
    targets = np.array([0, 0, 1, 1, 2, 2])
    first = np.array([0, 0, 1, 0, 1, 1])
    second = np.array([0, 1, 0, 1, 0, 0])
    assert contingency(targets, first, second) == (1, 2, 1, 2)


def test_few_discordant_rows_are_tested_by_the_binomial_distribution():
    # Of 9 fair coins 0, 1, 8 or 9 fall on heads: 2 (1 + 9) of 512.
    assert mcnemar(1, 8) == (pytest.approx(20 / 512), "exact", None)
    assert mcnemar(8, 1) == mcnemar(1, 8)
    assert mcnemar(0, 0) == (1.0, "exact", None)
    assert mcnemar(12, 12).p_value == 1.0


def test_many_discordant_rows_are_tested_by_chi_square():
    found = mcnemar(10, 25)
    assert found.method == "chi-square"
    assert found.statistic == pytest.approx(14**2 / 35)
    assert found.p_value == pytest.approx(0.017960, abs=1e-6)
    assert mcnemar(20, 20) == (1.0, "chi-square", 0.0)


def drawn(rng, rows, classes, accuracy):
    targets = rng.integers(0, classes, rows)

    def predictions():
        wrong = (targets + rng.integers(1, classes, rows)) % classes
        return np.where(rng.random(rows) < accuracy, targets, wrong)

    return targets, predictions(), predictions()


def test_scores_are_those_of_classification_scores():
    rng = np.random.default_rng(0)
    targets, first, second = drawn(rng, 80, 4, 0.7)
    first[first == 3] = 0  # a class that is never predicted
    found = bootstrap_differences(targets, first, second, 5, resamples=10)  # one without rows
    for name, difference in found.items():
        scores = [
            classification_scores(targets, np.eye(5)[one], list("abcde"))[name]
            for one in (first, second)
        ]
        assert difference[:3] == pytest.approx((*scores, scores[1] - scores[0]), abs=1e-12)


def test_the_interval_of_accuracies_is_that_of_their_spread():
    targets = np.zeros(400, int)
    first, second = np.zeros(400, int), np.zeros(400, int)
    first[:60], second[40:80] = 1, 1  # 40 rows right by the second alone, 20 by the first alone
    found = bootstrap_differences(targets, first, second, 2, seed=3)["accuracy"]
    assert found.difference == pytest.approx(20 / 400)
    spread = np.sqrt((60 / 400 - 0.05**2) / 400)
    assert found.low == pytest.approx(0.05 - 1.96 * spread, abs=0.003)
    assert found.high == pytest.approx(0.05 + 1.96 * spread, abs=0.003)


def test_equal_predictions_differ_by_nothing_and_the_seed_decides():
    rng = np.random.default_rng(1)
    targets, first, second = drawn(rng, 50, 3, 0.8)
    for found in bootstrap_differences(targets, first, first, 3, resamples=100).values():
        assert found[2:] == (0, 0, 0)
    once = bootstrap_differences(targets, first, second, 3, resamples=100)
    assert once == bootstrap_differences(targets, first, second, 3, resamples=100)
    assert once != bootstrap_differences(targets, first, second, 3, resamples=100, seed=1)


def test_resamples_in_parts_have_the_same_spread(monkeypatch):
    rng = np.random.default_rng(2)
    targets, first, second = drawn(rng, 60, 3, 0.8)
    whole = bootstrap_differences(targets, first, second, 3, resamples=4000)
    monkeypatch.setattr("bertjax.evaluation.comparison._CELLS", 900)
    for name, found in bootstrap_differences(targets, first, second, 3, resamples=4000).items():
        assert found == pytest.approx(whole[name], abs=0.01)


def test_two_that_are_equally_good_are_rarely_told_apart():
    rng = np.random.default_rng(4)
    rejected, covered, trials = 0, {"accuracy": 0, "weighted_f1": 0, "macro_f1": 0}, 400
    for _ in range(trials):
        targets, first, second = drawn(rng, 200, 3, 0.8)
        table = contingency(targets, first, second)
        rejected += mcnemar(table.first_only, table.second_only).p_value < 0.05
        found = bootstrap_differences(targets, first, second, 3, resamples=400, seed=5)
        for name, difference in found.items():
            covered[name] += difference.low <= 0 <= difference.high
    # 5 % and 95 %, within three standard deviations; McNemar's test is a little on the safe side.
    assert 0.01 < rejected / trials < 0.083
    for name, count in covered.items():
        assert 0.917 < count / trials < 0.983, name
