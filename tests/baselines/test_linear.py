import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from hpo_utils.baselines.linear import fit_ridge, folds
from hpo_utils.baselines.pls import LATENT, _pls_path, fit_pls

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6)) * [1, 0.5, 0.3, 0.2, 0.1, 0.05]
Z = np.stack([X[:, 0] + 0.1 * RNG.normal(size=80), RNG.normal(size=80)], axis=1)


def test_ridge_is_that_of_scikit_learn_with_the_penalty_it_names():
    model, alpha = fit_ridge(X, Z[:, :1], None)
    known = Ridge(alpha * len(X)).fit(X, Z[:, 0])
    np.testing.assert_allclose(model(torch.from_numpy(X))[:, 0], known.predict(X), atol=1e-10)


def test_each_target_has_its_own_penalty():
    """The second target is noise, whose best prediction is its mean."""
    model, _ = fit_ridge(X, Z, None)
    assert model.weight[:, 0].abs().max() > 0.9
    assert model.weight[:, 1].abs().max() < 0.2


def test_the_penalty_suits_recordings_that_were_never_seen():
    """Each recording has a target of its own, which samples of it would reveal."""
    groups = np.repeat(np.arange(30), 10)
    x = RNG.normal(size=(30, 20))[groups] + 0.01 * RNG.normal(size=(300, 20))
    z = RNG.normal(size=(30, 1))[groups]
    by_group, by_sample = (fit_ridge(x, z, known)[1] for known in (groups, None))
    assert by_group > 1e3 * by_sample


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(20), 4), np.zeros(80, dtype=int)])
def test_folds_hold_each_sample_once_and_divide_no_group(groups):
    splits = list(folds(80, groups))
    assert sorted(np.concatenate([held for _, held in splits]).tolist()) == list(range(80))
    for train, held in splits:
        assert set(train).isdisjoint(held)
        if groups is not None and len(np.unique(groups)) > 1:
            assert set(groups[train]).isdisjoint(groups[held])


def test_partial_least_squares_are_those_of_scikit_learn():
    known = PLSRegression(3, scale=False).fit(X, Z[:, 0])
    (weight, bias), *_ = _pls_path(X, Z[:, 0], [3])
    np.testing.assert_allclose(X @ weight + bias, np.ravel(known.predict(X)), atol=1e-8)
    longer = next(_pls_path(X, Z[:, 0], [3, 5]))
    np.testing.assert_allclose(longer[0], weight, atol=1e-8)  # the first variables stay


def test_a_weight_of_three_is_a_sample_measured_three_times():
    counts = RNG.integers(1, 4, len(X))
    rows = np.repeat(np.arange(len(X)), counts)
    weighted = _pls_path(X, Z[:, 0], [1, 3, 5], counts.astype(np.float32))
    repeated = _pls_path(X[rows], Z[rows, 0], [1, 3, 5])
    for (weight, bias), known in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(weight, known[0], atol=1e-8)
        assert bias == pytest.approx(known[1], abs=1e-8)


def test_samples_that_hardly_count_do_not_bend_partial_least_squares():
    bad = np.arange(80) < 20
    z = np.where(bad, -5 * X[:, 0], X[:, 0])[:, None]
    model = fit_pls(X, z, None, np.where(bad, 1e-6, 1.0).astype(np.float32))
    found = model(torch.from_numpy(X))[~bad, 0].numpy()
    np.testing.assert_allclose(found, X[~bad, 0], atol=1e-3)
    unweighted = fit_pls(X, z, None)(torch.from_numpy(X))[~bad, 0].numpy()
    assert np.abs(unweighted - X[~bad, 0]).max() > 1


def test_latent_variables_stop_where_samples_or_components_end():
    few = fit_pls(X[:5, :2], Z[:5], None)
    assert few.weight.shape == (2, 2)
    assert max(LATENT) > 2


def test_samples_that_repeat_leave_nothing_to_explain():
    few = np.repeat(RNG.normal(size=(6, 4)), 10, axis=0)
    z = np.repeat(RNG.normal(size=(6, 1)), 10, axis=0)
    model = fit_pls(few, z, np.repeat(np.arange(6), 10))
    assert torch.isfinite(model(torch.from_numpy(few))).all()
