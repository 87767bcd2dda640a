"""Weights of samples: one of weight two counts as the same sample twice, wherever it is learnt."""

import numpy as np
import pytest
import torch

from hpo_utils.base.errors import DataError
from hpo_utils.baselines.fitted import Baseline, best_baselines, fit_baselines
from hpo_utils.baselines.gaussian_process import fit_gaussian_process
from hpo_utils.baselines.linear import fit_ridge
from hpo_utils.baselines.take_home import choose_shares
from hpo_utils.baselines.trees import fit_boosting, fit_extra_trees
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.scaling import Standardizer
from hpo_utils.scores.yardstick import Yardstick
from hpo_utils.study.search import run_study
from hpo_utils.training.batches import PartTensors
from hpo_utils.winner.settle import settle_winner

RNG = np.random.default_rng(0)
N = 80
X = RNG.normal(size=(N, 5))
Z = np.stack([X[:, 0] + 0.3 * RNG.normal(size=N), X[:, 1] ** 2 + X[:, 2]], axis=1)
WEIGHTS = RNG.integers(1, 4, N).astype(np.float32)
TWICE = np.repeat(np.arange(N), WEIGHTS.astype(int))  # each sample as often as its weight says
PARTLY = np.where(RNG.random(Z.shape) < 0.3, np.nan, Z)


@pytest.mark.parametrize("z", [Z, PARTLY], ids=["all", "partly measured"])
@pytest.mark.parametrize("kind", ["mse", "mae", "r2"])
def test_the_score_is_that_of_repeated_samples(kind, z):
    truth, pred = torch.from_numpy(z), torch.from_numpy(0.8 * Z)
    yardstick = Yardstick(kind, None, "")
    found = yardstick(pred, truth, torch.from_numpy(WEIGHTS))
    assert float(found) == pytest.approx(float(yardstick(pred[TWICE], truth[TWICE])), rel=1e-5)
    alike = yardstick(pred, truth, torch.full((N,), 7.0))
    assert float(alike) == pytest.approx(float(yardstick(pred, truth)), rel=1e-5)


def test_the_loss_is_that_of_repeated_samples():
    z, z_pred = torch.from_numpy(Z), torch.from_numpy(0.8 * Z)
    part = PartTensors(torch.zeros(N, 1), z, weights=torch.from_numpy(WEIGHTS / WEIGHTS.mean()))
    loss = torch.nn.functional.mse_loss(*part.weighted(z_pred, z))
    repeated = torch.nn.functional.mse_loss(z_pred[TWICE], z[TWICE])
    assert float(loss) == pytest.approx(float(repeated), rel=1e-5)
    index = torch.tensor([3, 5])
    own = torch.nn.functional.mse_loss(*part.weighted(z_pred[index], z[index], index))
    shares = part.weights[index] / 2
    assert float(own) == pytest.approx(
        float((shares[:, None] * (z_pred - z)[index] ** 2).mean() * 2), rel=1e-5
    )


def test_ridge_regression_is_that_of_repeated_samples():
    # one group each, so that both are cross-validated on the same samples
    found, penalty = fit_ridge(X, Z, np.arange(N), WEIGHTS)
    repeated, same = fit_ridge(X[TWICE], Z[TWICE], np.arange(N)[TWICE])
    assert penalty == pytest.approx(same)
    np.testing.assert_allclose(found.weight, repeated.weight, atol=1e-9)
    np.testing.assert_allclose(found.bias, repeated.bias, atol=1e-9)


@pytest.mark.parametrize(
    "fit",
    [
        lambda z, weights: fit_ridge(X, z, None, weights)[0],
        lambda z, weights: fit_gaussian_process(X, None, z, weights),
        lambda z, weights: fit_extra_trees(X, z, weights),
        lambda z, weights: fit_boosting(X, z, weights),
    ],
    ids=["ridge", "Gaussian process", "extra trees", "boosting"],
)
def test_a_baseline_believes_the_samples_that_count(fit):
    """Half of the samples hold a wrong value, and count little."""
    wrong = np.arange(N) % 2 == 0
    z = np.where(wrong[:, None], Z + 5.0, Z)
    weights = np.where(wrong, 0.02, 1.98).astype(np.float32)
    errors = [
        np.abs(fit(z, w)(torch.from_numpy(X)).numpy() - Z)[~wrong].mean() for w in (weights, None)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_what_goes_home_is_chosen_by_the_samples_that_count():
    left = np.arange(N) < N / 2
    near, far = Z + 0.01 * RNG.normal(size=Z.shape), Z + RNG.normal(size=Z.shape)
    network = np.where(left[:, None], near, far).astype(np.float32)
    other = np.where(left[:, None], far, near).astype(np.float32)
    scaler = Standardizer(np.zeros(2), np.ones(2))
    baselines = [Baseline("other", other, other)]
    for counts, name in ((left, "network"), (~left, "other")):
        weights = np.where(counts, 1.0, 1e-4)
        shares = choose_shares("auto", Z, network, baselines, scaler, weights)
        assert shares == {name: [1.0, 1.0]}


@pytest.fixture
def weighted(make_arrays, tmp_path):
    """Signals whose level is the target; it is wrong in the half that counts little."""
    rng = np.random.default_rng(0)
    level = rng.normal(size=(160, 1))
    x = (level + 0.05 * rng.normal(size=(160, 32))).astype(np.float32)
    wrong = rng.random(160) < 0.5
    t = np.where(wrong[:, None], level + 3.0, level).astype(np.float32)
    np.save(tmp_path / "w.npy", np.where(wrong, 1e-3, 2.0))
    return make_arrays(x, t, **{"dataset.weights": str(tmp_path / "w.npy")}), wrong


def test_prepared_weights_have_a_mean_of_one_in_the_training_part(make_config, weighted):
    arrays, wrong = weighted
    cfg = make_config(**arrays)
    data = prepare_data(cfg)
    assert data.weights("train").mean() == pytest.approx(1.0)
    for part in ("train", "val", "test"):
        assert ((data.weights(part) < 0.1) == wrong[data.sample_numbers(part)]).all()
    assert prepare_data(cfg).dataset_id == data.dataset_id
    alike = prepare_data(make_config(**{**arrays, "dataset.weights": None}))
    assert alike.weights("val") is None
    assert alike.dataset_id != data.dataset_id
    np.save(arrays["dataset.weights"], np.ones(160))
    assert prepare_data(cfg).dataset_id != data.dataset_id


def test_a_study_learns_from_the_samples_that_count(make_config, weighted):
    arrays, wrong = weighted
    cfg = make_config("training.epochs=15", "model.use_views=true", **arrays)
    data = prepare_data(cfg)
    right = ~wrong[data.sample_numbers("test")]
    best = best_baselines(fit_baselines(data), data)[0]
    assert np.abs(best.test_pred - data.targets("test"))[right].mean() < 0.2
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    scores = evaluation["examination"]["scores"]
    assert max(scores["val"], scores["test"]) < 0.2  # of a variance that the wrong half doubles


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones(159), r"one number for each of 160 samples, got shape \(159,\)"),
        (np.r_[1.0, 0.0, np.ones(158)], "positive numbers, got 0 for sample 1"),
        (np.r_[np.ones(7), np.nan, np.ones(152)], "positive numbers, got nan for sample 7"),
        (np.array(["a"] * 160), "dataset.weights"),
    ],
)
def test_weights_that_are_none_are_refused(make_config, weighted, values, said):
    arrays, _ = weighted
    np.save(arrays["dataset.weights"], values)
    with pytest.raises(DataError, match=said):
        prepare_data(make_config(**arrays))
