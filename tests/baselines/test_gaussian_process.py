import numpy as np
import torch
from sklearn.gaussian_process import GaussianProcessRegressor

from hpo_utils.baselines.gaussian_process import fit_gaussian_process

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 12)) * np.geomspace(1, 0.05, 12)
CURVES = RNG.normal(size=(120, 5))


def test_the_mean_is_that_of_scikit_learn(monkeypatch):
    fitted = []
    real = GaussianProcessRegressor.fit
    monkeypatch.setattr(
        GaussianProcessRegressor, "fit", lambda *a: fitted.append(real(*a)) or fitted[-1]
    )
    z = np.sin(2 * X[:, :1]) + 0.1 * RNG.normal(size=(120, 1))
    model = fit_gaussian_process(X, None, z - z.mean())
    best = max(fitted, key=lambda each: each.log_marginal_likelihood_value_)
    with_lengths = best.kernel_.k1.k2.anisotropic
    inputs = X[:, :10] / X.std(axis=0)[:10] if with_lengths else X / X.std(axis=0).max()
    np.testing.assert_allclose(model(torch.from_numpy(X))[:, 0], best.predict(inputs), atol=1e-6)


def test_each_target_takes_the_inputs_that_explain_it():
    z = np.stack([np.sin(2 * X[:, 0]), np.sin(2 * CURVES[:, 1])], axis=1)
    model = fit_gaussian_process(X, CURVES, z)
    relevance = model.inverse_lengths.numpy()
    assert relevance[0, 12:].max() == 0.0
    assert relevance[1].argmax() == 13
    seen = torch.from_numpy(np.hstack([X, CURVES]))
    assert ((model(seen).numpy() - z) ** 2).mean() < 0.01
