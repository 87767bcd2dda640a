import numpy as np
import pytest
from scipy import stats

from hpo_utils.data.split import time_blocks
from hpo_utils.scores.intervals import (
    count_units,
    holm,
    mean_interval,
    paired_p_value,
    ratio_interval,
    unexplained_interval,
)


def test_a_known_interval_of_a_mean():
    low, high = mean_interval([1.0, 2.0, 3.0], 0.95)
    assert (low, high) == (pytest.approx(2 - 2.4841, abs=1e-3), pytest.approx(2 + 2.4841, abs=1e-3))
    assert mean_interval([1.0], 0.95) == (None, None)


def test_the_interval_of_a_mean_holds_it_as_often_as_promised():
    rng = np.random.default_rng(0)
    inside = [low < 0 < high for low, high in
              (mean_interval(rng.normal(size=5), 0.9) for _ in range(2000))]  # fmt: skip
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_paired_p_values_are_those_of_scipy():
    a, b = [1.0, 2.0, 4.0], [0.5, 1.7, 3.1]
    assert paired_p_value(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_p_value([1.0], [2.0]) is None  # one pair proves nothing
    assert paired_p_value([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p_value([1.0, 2.0], [0.0, 1.0]) == 0.0


def test_holm_is_what_it_is_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), 0.06, None, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_equals_are_told_apart_as_rarely_as_promised():
    rng = np.random.default_rng(1)
    p = [paired_p_value(rng.normal(size=4), rng.normal(size=4)) for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_training_that_diverged_has_no_p_value_and_spoils_no_other():
    assert paired_p_value([float("inf"), 1.0], [1.0, 2.0]) is None
    assert holm([None, 1e-6, 1e-6]) == [None, 2e-6, 2e-6]


def test_the_interval_of_a_mean_square_is_that_of_theory():
    """Of many normal errors: 1 +- 1.96 sqrt(2 / n)."""
    square = np.random.default_rng(0).normal(size=(4000, 1)) ** 2
    ((low, high),) = ratio_interval(square, np.ones_like(square), None, 0.95)
    assert low < square.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(2 / 4000), rel=0.1)


def test_a_group_counts_as_one():
    rng = np.random.default_rng(0)
    above, below = rng.uniform(1, 2, (2, 10, 2))
    groups = np.repeat(np.arange(10), 3)
    whole = ratio_interval(above[groups], below[groups], groups, 0.9)
    np.testing.assert_allclose(whole, ratio_interval(above, below, None, 0.9))


@pytest.mark.parametrize(
    ("sizes", "n_units"),
    [([5] * 9, 9), ([80] + [5] * 7, 2), ([93] + [1] * 7, 1), ([4, 5, 6] * 4, 12)],
)
def test_groups_count_by_their_sizes(sizes, n_units):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    assert count_units(len(groups), groups) == n_units


def test_the_interval_of_r2_holds_it_as_often_as_promised():
    """Where a target is constant within groups, they decide how much it varies, too."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(10), 5)
    missed = 0
    for _ in range(1000):
        truth = np.sqrt(12) * rng.uniform(size=(10, 1))[groups]  # of variance one
        errors = (0.6 * rng.normal(size=(50, 1))) ** 2
        ((low, high),) = unexplained_interval(errors, truth, groups, 0.95)
        missed += not low < 0.36 < high
    assert missed / 1000 == pytest.approx(0.05, abs=0.02)


def test_too_few_groups_give_no_interval():
    above = np.random.default_rng(0).uniform(size=(70, 2))
    groups = np.repeat(np.arange(7), 10)
    assert ratio_interval(above, above, groups, 0.9) == [(None, None)] * 2
    assert count_units(70, groups) == 7
    assert count_units(70, None) == 70


def test_more_samples_in_blocks_never_count_as_fewer():
    counts = [count_units(n, time_blocks(n)) for n in range(1, 400)]
    assert counts == sorted(counts)
    assert counts[8:12] == [8] * 4  # 9 samples were 7


@pytest.mark.parametrize("n_groups", [2, 8, 9, 30])
def test_groups_that_differ_by_one_sample_all_count(n_groups):
    groups = np.concatenate([np.arange(n_groups), np.arange(n_groups // 2)])
    assert count_units(len(groups), groups) == n_groups
