"""How the noise of the inputs comes through to the predictions, and the limit of detection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N_SAMPLES, N_DRAWS, SEED = 128, 32, 0  # of 32 draws a standard deviation is sure to 13 %
# standard deviations between the decision that something is there and its limit of detection: 5 %
# of errors of either kind (Currie, Pure and Applied Chemistry 67 (1995), 1699-1723)
DETECTION = 3.3
LOWEST = 0.1  # share of the samples that stand for blanks


def noise_of_predictions(
    predict: Callable[[Tensor], Tensor], x: Tensor, noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the standard deviation that the inputs' noise gives to each prediction.

    Noise is drawn and the model asked, as JCGM 101:2008 propagates distributions, so that it holds
    for any model. Its inverse is the analytical sensitivity of the model at that sample (Allegrini
    and Olivieri, Analytical Chemistry 88 (2016), 7807-7812, who take it from gradients).

    Parameters
    ----------
    predict
        Maps inputs (n_samples, n_channels, ...) to predictions (n_samples, n_targets).
    x
        Inputs of shape (n_samples, n_channels, L) or (n_samples, n_channels, H, W).
    noise
        Standard deviation of one value of each channel, in the unit of ``x``, (n_channels,). It is
        taken to be normal, and independent from value to value.

    Returns
    -------
    array of shape (n_samples, n_targets)
        In the unit of the predictions.
    """
    generator = torch.Generator().manual_seed(SEED)
    scale = torch.from_numpy(noise).to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
    drawn = [
        predict(x + scale * torch.randn(x.shape, generator=generator, dtype=x.dtype))
        for _ in range(N_DRAWS)
    ]
    return np.asarray(torch.stack(drawn).to(torch.float64).std(0))


def detection_limits(
    noise: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    leverage: NDArray[np.float64],
    reference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the smallest value of each target that stands out from noise.

    The variance at a sample is that of the inputs' noise there, and the calibration's own: by the
    sample's leverage, the noise of the inputs and of the reference values that it was fitted to
    (IUPAC technical report, Pure and Applied Chemistry 78 (2006), 633-661).

    Parameters
    ----------
    noise
        What ``noise_of_predictions`` returns, (n_samples, n_targets).
    y_pred
        Predictions of the same samples. Those with the lowest stand for samples without analyte.
    leverage
        Of the same samples, (n_samples,): ``baselines.domain.leverages``.
    reference
        Standard deviation of one reference value of each target, (n_targets,); 0: exact.

    Returns
    -------
    array of shape (n_targets,)
        In the unit of the target. What the model gets wrong without noise is not in it.
    """
    n_lowest = max(1, round(LOWEST * len(y_pred)))
    rows = np.argsort(y_pred, axis=0, kind="stable")[:n_lowest]
    by_sample = leverage[:, None]
    variance = (1.0 + by_sample) * noise**2 + by_sample * reference**2
    return np.asarray(DETECTION * np.sqrt(np.take_along_axis(variance, rows, axis=0).mean(axis=0)))
