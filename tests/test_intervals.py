import numpy as np
import pytest
from scipy import stats

from hpo_utils import intervals
from hpo_utils.intervals import (
    N_RESAMPLES,
    holm,
    mean_interval,
    paired_p_value,
    percentile_interval,
    resampled_errors,
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


def test_one_sided_p_values():
    best = [0.1, 0.2, 0.3]
    assert paired_p_value([0.2, 0.31, 0.4], best, "greater") < 0.05
    assert paired_p_value([0.2, 0.1, 0.4], best, "greater") > 0.05
    assert paired_p_value([0.05, 0.15, 0.25], best, "greater") == 1.0
    assert paired_p_value([9.0], [0.1], "greater") is None  # one pair proves nothing


def test_equals_are_told_apart_as_rarely_as_promised():
    rng = np.random.default_rng(1)
    p = [paired_p_value(rng.normal(size=4), rng.normal(size=4)) for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_training_that_diverged_has_no_p_value_and_spoils_no_other():
    assert paired_p_value([float("inf"), 1.0], [1.0, 2.0]) is None
    assert holm([None, 1e-6, 1e-6]) == [None, 2e-6, 2e-6]


def resample(y, *predictions, groups=None):
    errors, variance = resampled_errors(y, list(predictions), groups)
    return [*errors, variance]


def test_resampled_metrics_lie_around_the_metrics_of_the_whole():
    rng = np.random.default_rng(0)
    y = rng.normal(5, 2, (3000, 2))
    pred = y + rng.normal(0, [0.5, 1.0], (3000, 2))
    known = target_metrics(y, pred, ["a", "b"])
    mse, same, variance = resample(y, pred, pred)
    assert mse.shape == (N_RESAMPLES, 2)
    assert mse.mean(axis=0) == pytest.approx([known[k]["mse"] for k in "ab"], rel=0.01)
    r2 = 1 - mse / variance
    assert r2.mean(axis=0) == pytest.approx([known[k]["r2"] for k in "ab"], abs=0.005)
    np.testing.assert_array_equal(mse, same)  # all predictions meet the same draws


def test_a_resample_is_what_it_is_by_hand():
    """With the errors 1, 2, 4, ... the mean of a resample says how often each was drawn."""
    n = 10
    y, pred = np.zeros((n, 1)), 2.0 ** np.arange(n)[:, None]
    (mse, _) = resample(y, pred)
    drawn = np.random.default_rng(0).multinomial(n, [1 / n] * n, N_RESAMPLES)
    np.testing.assert_allclose(mse[:, 0], drawn @ pred[:, 0] ** 2 / n)


def test_groups_are_drawn_whole():
    groups = np.repeat(np.arange(10), 3)
    y = np.zeros((30, 1))
    error = groups[:, None].astype(float)  # the same for all samples of a group
    mse, _ = resample(y, error, groups=groups)
    single, _ = resample(y[:10], np.arange(10.0)[:, None])
    np.testing.assert_allclose(mse, single)


def test_too_few_groups_give_no_interval():
    groups = np.repeat(np.arange(7), 10)
    rng = np.random.default_rng(0)
    mse, _ = resample(np.zeros((70, 2)), rng.normal(size=(70, 2)), groups=groups)
    assert mse.shape == (0, 2)
    assert percentile_interval(mse, 0.9) == [(None, None)] * 2


def test_many_samples_are_resampled_in_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    y, pred = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    whole = resample(y, pred)
    monkeypatch.setattr(intervals, "BLOCK_VALUES", 50 * 7)
    for a, b in zip(whole, resample(y, pred), strict=True):
        np.testing.assert_allclose(a, b)


def test_the_bootstrap_interval_is_that_of_theory():
    """Of a mean square of many normal errors: 1 +- 1.96 sqrt(2 / n)."""
    error = np.random.default_rng(0).normal(size=(4000, 1))
    mse, _ = resample(np.zeros_like(error), error)
    ((low, high),) = percentile_interval(mse, 0.95)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(2 / 4000), rel=0.1)
