"""Intervals, against values of the papers that they come from."""

import numpy as np
import pytest

from bertjax.evaluation.intervals import difference, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_has_the_published_values(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_without_a_row_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [  # Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_the_difference_has_the_published_values(a, b, low, high):
    assert difference(a, b) == pytest.approx((low, high), abs=5e-5)
    assert difference(b, a) == pytest.approx((-high, -low), abs=5e-5)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_share_lies_in_its_interval_and_a_higher_level_is_wider(level):
    for count in (1, 7, 400):
        for right in {0, 1, count // 2, count}:
            low, high = wilson(right, count, level)
            assert 0 <= low <= right / count <= high <= 1
            wider = wilson(right, count, (1 + level) / 2)
            assert wider.low <= low
            assert wider.high >= high


def test_nineteen_of_twenty_intervals_hold_the_true_share():
    drawn = np.random.default_rng(0).binomial(120, 0.8, 2000)
    held = [wilson(int(right), 120) for right in drawn]
    assert np.mean([low <= 0.8 <= high for low, high in held]) == pytest.approx(0.95, abs=0.02)
