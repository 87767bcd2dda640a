import numpy as np
import pytest
import torch
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from scipy.signal import periodogram, savgol_filter

from hpo_utils.baselines.spectra import (
    ORDER,
    WINDOW,
    derivative,
    power_spectrum,
    standard_normal_variate,
)

X = np.random.default_rng(0).normal(size=(5, 2, 40)).cumsum(axis=2)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("length", [WINDOW, 12, 40])
def test_derivatives_are_those_of_scipy_also_at_the_ends(order, length):
    x = X[:, :, :length]
    known = savgol_filter(x, WINDOW, ORDER, deriv=order)
    np.testing.assert_allclose(derivative(torch.from_numpy(x), order), known, atol=1e-12)


def test_chemometrics_agrees():
    x = X[:, 0]
    ours = standard_normal_variate(derivative(torch.from_numpy(x), 2))
    smoothed = SavitzkyGolay(window_length=WINDOW, polyorder=ORDER, deriv=2,
                             mode="interp").fit_transform(x)  # fmt: skip
    known = StandardNormalVariate().fit_transform(smoothed)
    np.testing.assert_allclose(ours, known, rtol=1e-8, atol=1e-10)


def test_a_flat_signal_has_no_variate_and_a_short_one_no_derivative():
    flat = torch.full((1, 1, 20), 3.0, dtype=torch.float64)
    assert (standard_normal_variate(flat) == 0).all()
    short = torch.from_numpy(X[:, :, : WINDOW - 1])
    assert derivative(short, 2) is short


def test_the_power_is_that_of_scipy():
    window = np.hanning(40)
    known = periodogram(X, window=window, detrend="constant", scaling="spectrum")[1]
    ours = power_spectrum(torch.from_numpy(X), (2,)).numpy()
    # scipy's spectrum counts both signs of a frequency and divides by the window's gain
    ours = 2 * ours[..., 1:-1] / window.mean() ** 2
    np.testing.assert_allclose(ours, known[..., 1:-1], atol=1e-10)


def test_gradients_are_finite_where_nothing_varies():
    x = torch.zeros(1, 1, 40, dtype=torch.float64, requires_grad=True)
    (standard_normal_variate(x).sum() + power_spectrum(x, (2,)).sum()).backward()
    assert torch.isfinite(x.grad).all()
