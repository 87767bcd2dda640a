import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from hpo_utils.baselines import trees
from hpo_utils.baselines.trees import fit_boosting, fit_extra_trees

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 9)).astype(np.float32).astype(np.float64)
Z = np.stack([np.sign(X[:, 0]) + X[:, 1], X[:, 2] ** 2], axis=1)
NEW = RNG.normal(size=(200, 9)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_extra_trees_predict_as_in_scikit_learn(monkeypatch, n_targets):
    grown = []
    real = ExtraTreesRegressor.fit
    monkeypatch.setattr(ExtraTreesRegressor, "fit", lambda *a: grown.append(real(*a)) or grown[-1])
    found = fit_extra_trees(X, Z[:, :n_targets])(torch.from_numpy(NEW)).numpy()
    known = grown[0].predict(NEW).reshape(len(NEW), n_targets)
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_boosting_predicts_as_in_scikit_learn(monkeypatch):
    grown = []
    real = HistGradientBoostingRegressor.fit
    monkeypatch.setattr(
        HistGradientBoostingRegressor, "fit", lambda *a: grown.append(real(*a)) or grown[-1]
    )
    found = fit_boosting(X, Z)
    edges = np.quantile(X, np.linspace(0, 1, trees.N_BINS + 1)[1:-1], axis=0)
    bins = (X[None] > edges[:, None]).sum(axis=0)
    known = np.stack([each.predict(bins) for each in grown], axis=1)
    np.testing.assert_allclose(found(torch.from_numpy(X)).numpy(), known, atol=1e-5)
    # thresholds lie between values of the training samples, half-way: not on them
    inner = (found.left != torch.arange(len(found.left))).numpy()
    pairs = zip(found.feature.numpy()[inner], found.threshold.numpy()[inner], strict=True)
    for feature, threshold in pairs:
        values = np.sort(X[:, feature])
        place = np.searchsorted(values, threshold)
        assert threshold == pytest.approx(values[place - 1 : place + 1].mean(), abs=1e-7)


def test_the_leaves_are_bounded(monkeypatch):
    monkeypatch.setattr(trees, "MAX_LEAVES", 8)
    found = fit_extra_trees(X, Z)
    assert len(found.feature) <= trees.N_TREES * (2 * 8 - 1)
