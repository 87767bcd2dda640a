"""Figures of merit against hand-worked numbers and a second implementation, SciPy's."""

import numpy as np
import pytest
from scipy import stats

from hpo_utils.scores.merit import figures_of_merit

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(10, 2, size=(40, 1))
PRED = 0.5 + 0.9 * TRUTH + 0.4 * RNG.normal(size=(40, 1))


def merit(y_true=TRUTH, y_pred=PRED, units=None, confidence=0.95, groups=None):
    return figures_of_merit(y_true, y_pred, ["fat"], units, confidence, groups=groups)["fat"]


def test_hand_worked_numbers():
    """Errors 1, -1, 2, 0 …: their mean is 0.5, their squares add up to 12 for eight samples."""
    truth = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8]]).T
    found = merit(truth, truth + np.array([[1.0, -1, 2, 0, 1, -1, 2, 0]]).T)
    assert (found["n"], found["n_units"], found["reference"]) == (8, 8, (1.0, 8.0))
    assert found["bias"] == pytest.approx(0.5)
    assert found["rmsep"] == pytest.approx((12 / 8) ** 0.5)
    sep = (10 / 7) ** 0.5  # 12 less 8 times 0.25, over seven
    assert found["sep"] == pytest.approx(sep)
    assert found["bias_limit"] == pytest.approx(2.364624 * sep / 8**0.5, rel=1e-5)
    assert found["rpd"] == pytest.approx(6**0.5 / sep)  # the variance of 1 to 8 is 6
    assert found["rpiq"] == pytest.approx(3.5 / sep)
    assert found["sep_of_range"] == pytest.approx(sep / 7)
    assert found["agreement"] == pytest.approx((0.5 - 1.96 * sep, 0.5 + 1.96 * sep))


def test_tests_are_those_of_scipy():
    found = merit()
    bias = stats.ttest_1samp((PRED - TRUTH)[:, 0], 0.0)
    assert found["bias_p"] == pytest.approx(bias.pvalue)
    low, high = bias.confidence_interval(0.95)
    assert found["bias_limit"] == pytest.approx((high - low) / 2)
    line = stats.linregress(PRED[:, 0], TRUTH[:, 0])
    assert (found["slope"], found["intercept"]) == pytest.approx((line.slope, line.intercept))
    t = (line.slope - 1) / line.stderr
    assert found["slope_p"] == pytest.approx(2 * stats.t.sf(abs(t), 38))
    half = stats.t.ppf(0.975, 38) * line.stderr
    assert found["slope_interval"] == pytest.approx((line.slope - half, line.slope + half))


def test_the_line_and_its_tests_are_those_of_statsmodels():
    import statsmodels.api as sm

    found, line = merit(), sm.OLS(TRUTH[:, 0], sm.add_constant(PRED[:, 0])).fit()
    assert [found["intercept"], found["slope"]] == pytest.approx(line.params.tolist())
    assert found["slope_interval"] == pytest.approx(tuple(line.conf_int(0.05)[1]))
    assert found["slope_p"] == pytest.approx(float(line.t_test("x1 = 1").pvalue))
    assert found["line_p"] == pytest.approx(float(line.f_test("const = 0, x1 = 1").pvalue))


def test_replicates_show_the_repeatability_of_the_predictions():
    """Two replicates off by 0.2, three by 0 and ±0.3: (0.02 + 0.18) over three degrees."""
    truth = np.array([[5.0, 5, 7, 7, 7, 7, 9]]).T
    predicted = np.array([[5.1, 4.9, 7, 6.7, 7.3, 20, 9]]).T
    groups = np.array([0, 0, 1, 1, 1, 2, 3])
    assert merit(truth, predicted, groups=groups)["repeated"] == pytest.approx((0.2 / 3) ** 0.5)
    assert merit(truth, truth, groups=groups)["repeated"] == 0
    assert "repeated" not in merit(truth, predicted, groups=np.arange(7))
    assert "repeated" not in merit(truth, predicted)


def test_the_joint_test_is_that_of_nested_models():
    found = merit()
    a = np.column_stack([np.ones(40), PRED[:, 0]])
    rest = np.linalg.lstsq(a, TRUTH[:, 0])[1][0]
    whole = ((TRUTH - PRED) ** 2).sum()
    f = (whole - rest) / 2 / (rest / 38)
    assert found["line_p"] == pytest.approx(stats.f.sf(f, 2, 38))


def test_unbiased_predictions_are_called_biased_as_rarely_as_promised():
    wrong = {"bias_p": 0, "slope_p": 0, "line_p": 0}
    for _ in range(1000):
        predicted = RNG.normal(size=(24, 1))
        found = merit(predicted + 0.5 * RNG.normal(size=(24, 1)), predicted)
        for name in wrong:
            wrong[name] += found[name] < 0.05
    assert all(0.03 < count / 1000 < 0.07 for count in wrong.values())


def test_samples_of_a_group_count_as_one():
    wrong = 0
    for _ in range(500):
        units = np.repeat(np.arange(12), 10)
        truth = RNG.normal(size=(120, 1))
        predicted = truth + 0.3 * RNG.normal(size=(12, 1))[units] + 0.1 * RNG.normal(size=(120, 1))
        found = merit(truth, predicted, units)
        wrong += found["bias_p"] < 0.05
    assert found["n_units"] == 12
    assert wrong / 500 < 0.08


def test_what_is_not_defined_is_none():
    constant = np.ones((20, 1))
    found = merit(constant, constant + 0.1 * RNG.normal(size=(20, 1)))
    assert found["sep"] > 0
    assert [found[name] for name in ("slope", "rpd", "rpiq", "sep_of_range")] == [None] * 4
    few = merit(TRUTH[:3], PRED[:3])
    assert (few["bias_p"], few["slope"]) == (None, None)
    assert few["sep"] > 0
    perfect = merit(TRUTH, TRUTH)
    assert (perfect["rpd"], perfect["bias_p"], perfect["slope"]) == (None, None, pytest.approx(1))
    nothing = merit(np.full((20, 1), np.nan), PRED[:20])
    assert (nothing["n"], nothing["rmsep"], nothing["agreement"]) == (0, None, (None, None))


def test_the_scatter_of_the_reference_is_taken_out():
    """RMSEP 5 with a reference of 3 leaves 4, and of a variance of 36 the reference takes 9."""
    truth = np.array([[-6.0, 6.0] * 8]).T
    found = figures_of_merit(truth, truth + 5, ["fat"], None, 0.95, [3.0])["fat"]
    assert (found["own_error"], found["expanded"]) == pytest.approx((4.0, 8.0))
    assert found["r2_ceiling"] == pytest.approx(1 - 9 / 36)


def test_a_reference_that_scatters_more_than_the_error_hides_it():
    found = figures_of_merit(TRUTH, TRUTH + 1, ["fat"], None, 0.95, [2.0])["fat"]
    assert (found["own_error"], found["expanded"]) == (None, None)
    unknown = figures_of_merit(TRUTH, TRUTH + 1, ["fat"], None, 0.95, [None])["fat"]
    assert (unknown["own_error"], unknown["expanded"]) == (None, pytest.approx(2.0))


def test_a_model_without_error_reaches_the_ceiling_and_one_with_error_is_told_its_own():
    """Simulated: what is found is the error against the truth, which the reference hides."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, size=(20_000, 1))
    reference, model = (true + s * rng.normal(size=true.shape) for s in (0.5, 0.3))
    found = figures_of_merit(reference, model, ["fat"], None, 0.95, [0.5])["fat"]
    assert found["own_error"] == pytest.approx(0.3, rel=0.05)
    r2 = 1 - np.mean((reference - true) ** 2) / np.var(reference)
    assert found["r2_ceiling"] == pytest.approx(r2, abs=0.005)
