import numpy as np
import pytest
from scipy import stats

from hpo_utils.intervals import (
    holm,
    is_beaten,
    mean_interval,
    paired_p_value,
    percentile_interval,
    resampled_mse,
    resampled_r2,
    resampling_weights,
)
from hpo_utils.metrics import target_metrics


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
    assert paired_p_value([1.0], [2.0]) is None
    assert paired_p_value([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p_value([1.0, 2.0], [0.0, 1.0]) == 0.0


def test_holm_is_what_it_is_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), 0.06, None, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_who_is_beaten():
    best = [0.1, 0.2, 0.3]
    assert is_beaten([0.2, 0.31, 0.4], best, 0.95)
    assert not is_beaten([0.2, 0.1, 0.4], best, 0.95)
    assert not is_beaten([0.05, 0.15, 0.25], best, 0.95)
    assert not is_beaten([9.0], [0.1], 0.95)  # one pair proves nothing


def test_a_race_of_equals_is_lost_as_rarely_as_promised():
    rng = np.random.default_rng(1)
    lost = [is_beaten(rng.normal(size=4), rng.normal(size=4), 0.95) for _ in range(2000)]
    assert np.mean(lost) == pytest.approx(0.05, abs=0.02)


def test_resampled_metrics_of_the_whole_are_the_metrics():
    rng = np.random.default_rng(0)
    y, pred = rng.normal(5, 2, (30, 2)), rng.normal(5, 2, (30, 2))
    known = target_metrics(y, pred, ["a", "b"])
    once = np.ones((1, 30))
    assert resampled_mse(y, pred, once)[0] == pytest.approx([known[k]["mse"] for k in "ab"])
    assert resampled_r2(y, pred, once)[0] == pytest.approx([known[k]["r2"] for k in "ab"])
    doubled = np.zeros((1, 30))
    doubled[0, :10] = 2  # the first ten samples, each twice
    ten = target_metrics(y[:10], pred[:10], ["a", "b"])
    assert resampled_r2(y, pred, doubled)[0] == pytest.approx([ten[k]["r2"] for k in "ab"])


def test_groups_are_drawn_whole():
    groups = np.array([7, 7, 9, 9, 9, 3])
    weights = resampling_weights(6, groups)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert set(weights[:, [0, 2, 5]].sum(axis=1)) == {3.0}
    np.testing.assert_array_equal(weights, resampling_weights(6, groups))


def test_the_bootstrap_interval_is_that_of_theory():
    """Of a mean square of many normal errors: 1 +- 1.96 sqrt(2 / n)."""
    error = np.random.default_rng(0).normal(size=(4000, 1))
    mse = resampled_mse(np.zeros_like(error), error, resampling_weights(4000))
    ((low, high),) = percentile_interval(mse, 0.95)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(2 / 4000), rel=0.1)


def test_no_interval_where_the_truth_does_not_vary():
    y = np.array([[1.0], [1.0], [1.0]])
    assert percentile_interval(resampled_r2(y, y + 1, resampling_weights(3)), 0.9) == [(None, None)]
