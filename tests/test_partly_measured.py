"""Targets measured in some samples only: each counts by its own, from the data to the bundle."""

import numpy as np
import pytest
import torch

from hpo_utils.base.errors import DataError
from hpo_utils.baselines.gaussian_process import fit_gaussian_process
from hpo_utils.baselines.linear import fit_ridge
from hpo_utils.baselines.pls import fit_pls
from hpo_utils.baselines.take_home import choose_shares
from hpo_utils.baselines.trees import fit_boosting, fit_extra_trees
from hpo_utils.data.audit import FINE, audit_leakage
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.scaling import Standardizer
from hpo_utils.insight.residuals import error_correlations, worst_samples
from hpo_utils.network.losses import PartlyMeasuredMSELoss, WeightedMSELoss
from hpo_utils.scores.metrics import standardized_errors, target_metrics
from hpo_utils.scores.skill import errors_with_intervals, skill_with_intervals
from hpo_utils.scores.spread import calibrate_spread, coverage
from hpo_utils.scores.yardstick import Yardstick
from hpo_utils.study.search import run_study
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.winner.settle import settle_winner, winner_directory

RNG = np.random.default_rng(0)
N, NAMES = 90, ["a", "b"]
X = RNG.normal(size=(N, 5)) * [1, 0.8, 0.5, 0.3, 0.2]
TRUTH = np.stack([X[:, 0] + 0.1 * RNG.normal(size=N), X[:, 1] ** 2 + X[:, 2]], axis=1)
PARTLY = np.where(RNG.random((N, 2)) < [0.3, 0.6], np.nan, TRUTH).astype(np.float32)
KNOWN = ~np.isnan(PARTLY)
PRED = (TRUTH + 0.3 * RNG.normal(size=(N, 2))).astype(np.float32)
OTHER = (TRUTH + 0.4 * RNG.normal(size=(N, 2))).astype(np.float32)
GROUPS = np.repeat(np.arange(30), 3)


def alone(k, *arrays):
    """Return the samples of target ``k`` alone."""
    return [a[..., KNOWN[:, k], :][..., k : k + 1] for a in arrays]


@pytest.mark.parametrize("k", [0, 1])
def test_a_target_has_the_metrics_of_its_own_samples(k):
    y, pred, other = alone(k, PARTLY, PRED, OTHER)
    groups, name = GROUPS[KNOWN[:, k]], NAMES[k]
    assert target_metrics(PARTLY, PRED, NAMES)[name] == target_metrics(y, pred, [name])[name]
    together = errors_with_intervals(PARTLY, {"m": PRED}, NAMES, GROUPS, 0.9)["m"][name]
    assert together == errors_with_intervals(y, {"m": pred}, [name], groups, 0.9)["m"][name]
    skill = skill_with_intervals(PARTLY, PRED, OTHER, GROUPS, 0.9)[k]
    # the level of two targets together is that of one with half the error
    own = skill_with_intervals(y, pred, other, groups, 0.95)[0]
    assert skill["skill"] == pytest.approx(own["skill"])
    assert skill["interval"] == pytest.approx(own["interval"])


@pytest.mark.parametrize("k", [0, 1])
def test_intervals_are_calibrated_on_the_samples_of_their_target(k):
    members = np.stack([PRED, OTHER])
    y, own = alone(k, PARTLY, members)
    found = calibrate_spread(PARTLY, members, 0.9, GROUPS)
    known = calibrate_spread(y, own, 0.9, GROUPS[KNOWN[:, k]])
    assert found.factors[k] == pytest.approx(known.factors[0])
    assert found.residual[k] == pytest.approx(known.residual[0])
    held = coverage(PARTLY, members, found, 0.9)[k]["calibrated"]
    assert held == coverage(y, own, known, 0.9)[0]["calibrated"] >= 0.9


def test_the_score_is_the_mean_over_targets_of_each_one_s_own():
    z_true, z_pred = torch.from_numpy(PARTLY), torch.from_numpy(PRED)
    for kind in ("mse", "mae", "r2"):
        own = [
            Yardstick(kind, None, "")(*map(torch.from_numpy, alone(k, PRED, PARTLY)))
            for k in range(2)
        ]
        whole = Yardstick(kind, None, "")
        assert whole(z_pred, z_true) == pytest.approx(float(sum(own) / 2), rel=1e-5)
        assert whole.of_samples(z_pred, z_true).mean() == pytest.approx(float(sum(own) / 2))
        assert Yardstick(kind, 1, "")(z_pred, z_true) == pytest.approx(float(own[1]))
    scaler = Standardizer(np.zeros(2), np.ones(2))
    mse = standardized_errors(PARTLY, PRED, scaler)["mse"]
    assert mse == pytest.approx(float(Yardstick("mse", None, "")(z_pred, z_true)))


def test_what_was_not_measured_has_no_loss_and_no_gradient():
    z_true = torch.from_numpy(PARTLY)
    z_pred = torch.from_numpy(PRED).requires_grad_()
    loss = PartlyMeasuredMSELoss([2.0, 1.0])(z_pred, z_true)
    loss.backward()
    squares = np.where(KNOWN, (PRED - PARTLY) ** 2 * [2.0, 1.0], 0.0)
    assert float(loss.detach()) == pytest.approx(squares.sum() / KNOWN.sum(), rel=1e-5)
    assert z_pred.grad is not None
    np.testing.assert_array_equal(z_pred.grad.numpy() != 0, KNOWN)
    whole = torch.from_numpy(TRUTH.astype(np.float32))
    kinds = (PartlyMeasuredMSELoss, WeightedMSELoss)
    partly, weighted = (kind([2.0, 1.0])(z_pred.detach(), whole) for kind in kinds)
    assert float(partly) == pytest.approx(float(weighted), rel=1e-6)
    assert PartlyMeasuredMSELoss([1.0])(torch.zeros(2, 1), torch.full((2, 1), torch.nan)) == 0


@pytest.mark.parametrize(
    "fit",
    [
        lambda x, z: fit_ridge(x, z, None)[0],
        lambda x, z: fit_pls(x, z, None),
        lambda x, z: fit_gaussian_process(x, None, z),
        fit_extra_trees,
        fit_boosting,
    ],
    ids=["ridge", "PLS", "Gaussian process", "extra trees", "boosting"],
)
def test_baselines_learn_a_target_from_its_own_samples(fit):
    z = PARTLY.astype(np.float64)
    predicted = fit(X, z)(torch.from_numpy(X)).numpy()
    assert np.isfinite(predicted).all()
    rest = predicted - TRUTH
    assert (rest[KNOWN[:, 0], 0] ** 2).mean() < 0.2 * TRUTH[:, 0].var()
    if fit not in (fit_extra_trees, fit_boosting):  # in which a draw depends on what else is drawn
        for k in range(2):
            own = fit(X[KNOWN[:, k]], z[KNOWN[:, k], k : k + 1])(torch.from_numpy(X)).numpy()
            if fit_gaussian_process.__name__ not in fit.__code__.co_names:  # tuned in another order
                np.testing.assert_allclose(predicted[:, k], own[:, 0], atol=1e-8)


def test_shares_are_those_of_the_samples_measured():
    scaler = Standardizer(np.zeros(2), np.ones(2))
    shares = choose_shares("auto", PARTLY, PRED, [], scaler)
    assert shares == {"network": [1.0, 1.0]}


def test_errors_are_told_where_they_are_known():
    worst = worst_samples(PARTLY, PRED, [1.0, 1.0], N)
    errors = np.sqrt(np.nanmean((PRED - PARTLY)[KNOWN.any(axis=1)] ** 2, axis=1))
    assert worst[0] == np.flatnonzero(KNOWN.any(axis=1))[errors.argmax()]
    assert not KNOWN[worst[-(~KNOWN.any(axis=1)).sum() :]].any()  # nothing is known of the last
    assert np.isfinite(error_correlations(PARTLY, PRED, NAMES)).all(axis=None)


@pytest.fixture
def signals():
    """Signals whose level is one target and whose slope is the other."""
    level, slope = RNG.normal(size=(2, 200, 1))
    x = level + slope * np.linspace(-1, 1, 32) + 0.05 * RNG.normal(size=(200, 32))
    t = np.hstack([level, slope]).astype(np.float32)
    t[RNG.random((200, 2)) < [0.2, 0.5]] = np.nan
    return x.astype(np.float32), t


def test_without_the_setting_the_refusal_says_what_it_would_keep(make_config, make_arrays, signals):
    x, t = signals
    known = ~np.isnan(t)
    partly = known.sum(axis=1) == 1
    said = (
        rf"got nan for 'target \d' in sample \d+ \({(~known).sum()} such values\): correct or"
        r" remove these samples, or set dataset.partly_measured to true, which keeps"
        rf" {partly.sum()} values measured in {partly.sum()} samples that lack others"
    )
    with pytest.raises(DataError, match=said):
        prepare_data(make_config(**make_arrays(x, t, **{"dataset.downsample_factor": 1})))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ((slice(None), 1), np.nan, "at least 2 samples of the training part, but was in 0 of"),
        ((5, 0), np.inf, "got inf for 'target 0' in sample 5"),
        ((5, 0), -9999.0, "got -9999 in sample 5"),
    ],
)
def test_other_gaps_are_refused(make_config, make_arrays, signals, place, value, said):
    x, t = signals
    t[place] = value
    asked = {"dataset.partly_measured": True, "dataset.downsample_factor": 1}
    with pytest.raises(DataError, match=said):
        prepare_data(make_config(**make_arrays(x, t, **asked)))


def test_a_study_learns_from_all_that_was_measured(make_config, make_arrays, signals):
    """Of two targets, one measured in half of the samples: both are predicted, and judged."""
    x, t = signals
    cfg = make_config(
        "dataset.partly_measured=true", "dataset.downsample_factor=1", "training.epochs=3",
        "augmentation.mixup=1.0", **make_arrays(x, t),
    )  # fmt: skip
    data = prepare_data(cfg)
    assert {finding.check: finding.verdict for finding in audit_leakage(data)}["statistics"] == FINE
    np.testing.assert_array_equal(data.all_targets(), t)
    means = np.nanmean(data.targets("train").astype(float), axis=0)
    np.testing.assert_allclose(data.target_scaler.mean, means)
    study = run_study(cfg)
    found = settle_winner(study, cfg)["examination"]
    assert all(errors["r2"] > 0.9 for errors in found["test"]["ridge on views"].values())
    fewest = int((~np.isnan(data.targets("val"))).sum(axis=0).min())
    assert found["n_val_units"] == fewest < 19  # of so few, no interval of 95 % follows
    assert found["spread_confidence"] == fewest / (fewest + 1)
    bundle = winner_directory(data.directory.parents[1], study.study_name) / "bundle"
    rows = data.sample_numbers("test")
    table = evaluate(bundle, x[rows], t[rows])
    np.testing.assert_allclose(table["R²"], table["R² of the test part"], atol=1e-4)
    lacking = t[rows].copy()
    lacking[:, 1] = np.nan
    table = evaluate(bundle, x[rows], lacking)
    assert "target 1 was not measured here" in table.attrs["remarks"]
    assert np.isfinite(table["R²"].iloc[0])
    assert np.isnan(table["R²"].iloc[1])
