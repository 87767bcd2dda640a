"""The inputs' noise in the predictions against what a linear model and a gradient say of it."""

import numpy as np
import pytest
import torch

from hpo_utils.insight.input_noise import detection_limits, noise_of_predictions

X = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 2, 30)).astype(np.float32))
B = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 30, 3)).astype(np.float32))
NOISE = np.array([0.1, 0.02])


def test_a_linear_model_passes_on_the_norm_of_its_coefficients():
    found = noise_of_predictions(lambda x: torch.einsum("ncl,clk->nk", x, B), X, NOISE)
    assert found.shape == (100, 3)
    known = np.sqrt((B.numpy() ** 2 * NOISE[:, None, None] ** 2).sum(axis=(0, 1)))
    assert np.sqrt((found**2).mean(axis=0)) == pytest.approx(known, rel=0.05)


def test_a_curved_model_passes_on_the_norm_of_its_gradient():
    x = X.clone().requires_grad_(True)
    y = torch.tanh(0.1 * torch.einsum("ncl,clk->nk", x, B))
    (gradient,) = torch.autograd.grad(y[:, 0].sum(), x)
    scale = torch.tensor(NOISE, dtype=torch.float32).reshape(1, 2, 1)
    known = (gradient * scale).square().sum(dim=(1, 2)).sqrt().numpy()
    found = noise_of_predictions(
        lambda x: torch.tanh(0.1 * torch.einsum("ncl,clk->nk", x, B)), X, NOISE
    )[:, 0]
    assert np.median(found / known) == pytest.approx(1, rel=0.05)
    assert np.corrcoef(found, known)[0, 1] > 0.9


def test_without_noise_nothing_comes_through():
    found = noise_of_predictions(lambda x: x.mean(dim=2), X, np.zeros(2))
    assert found.shape == (100, 2)
    assert (found == 0).all()


def test_the_limit_of_detection_is_that_of_the_lowest_samples():
    y_pred = np.stack([np.arange(20.0), -np.arange(20.0)], axis=1)
    noise = np.ones((20, 2))
    noise[:2, 0], noise[-2:, 1] = 0.5, 2.0
    assert detection_limits(noise, y_pred, np.zeros(20), np.zeros(2)) == pytest.approx(
        [3.3 * 0.5, 3.3 * 2.0]
    )


def test_a_line_is_detected_at_its_limit_as_often_as_promised():
    """Of samples at the limit 95 % lie above the decision limit, of blanks 5 % (1.645 sigma)."""
    exact = np.zeros(50), np.zeros(1)
    (limit,) = detection_limits(np.full((50, 1), 0.2), np.zeros((50, 1)), *exact)
    drawn = np.random.default_rng(2).normal(scale=0.2, size=20_000)
    assert (drawn > limit / 2).mean() == pytest.approx(0.05, abs=0.006)
    assert (drawn + limit > limit / 2).mean() == pytest.approx(0.95, abs=0.006)


def test_a_calibration_that_was_fitted_again_and_again_scatters_as_the_limit_says():
    """Least squares of three inputs, with noise in inputs and reference values."""
    rng, n, slope, noise, scatter = np.random.default_rng(3), 25, np.array([1, -2, 0.5]), 0.02, 0.1
    x, blank = rng.normal(size=(n, 3)), np.array([-1.2, 1.0, -0.5])
    errors = []
    for _ in range(4000):
        design = np.column_stack([np.ones(n), x + noise * rng.normal(size=x.shape)])
        fitted, *_ = np.linalg.lstsq(design, x @ slope + scatter * rng.normal(size=n), rcond=None)
        seen = blank + noise * rng.normal(size=3)
        errors.append(fitted[0] + seen @ fitted[1:] - blank @ slope)
    centred = x - x.mean(axis=0)
    t2 = n * (blank - x.mean(axis=0)) @ np.linalg.solve(centred.T @ centred, blank - x.mean(axis=0))
    through = noise * np.linalg.norm(slope)
    (limit,) = detection_limits(
        np.array([[through]]), np.zeros((1, 1)), np.array([(1 + t2) / n]), np.array([scatter])
    )
    assert limit == pytest.approx(3.3 * np.std(errors), rel=0.04)
    assert limit > 1.15 * 3.3 * through
