"""Features: what sums a sample up in a few numbers, for models without a network and for the audit.

Inputs are of shape (n_samples, n_channels, L) for signals and (n_samples, n_channels, H, W) for
images; each sample's features depend on no other's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BANDS = {1: 32, 2: 8}  # bands along each axis, for signals and for images
STATISTICS = (
    "mean", "standard deviation", "minimum", "maximum", "median",
    "first row", "last row", "slope", "mean step", "spread of the steps",
)  # fmt: skip
N_SPECTRAL_BANDS = 24  # of equal ratio, as octaves are, between one period per signal and Nyquist's
SHORTEST = 16  # values that a signal must have for its spectrum to say something
FLOOR = 1e-12  # power, in units of the variance, below which its logarithm says nothing


def band_means(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return band means (n_samples, n_features) of inputs (n_samples, n_channels, L or H, W)."""
    pooled = np.asarray(x, dtype=np.float64)
    for axis in range(2, x.ndim):
        bands = np.array_split(pooled, min(N_BANDS[x.ndim - 2], pooled.shape[axis]), axis)
        pooled = np.concatenate([band.mean(axis, keepdims=True) for band in bands], axis)
    return pooled.reshape(len(x), -1)


def channel_statistics(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ten ``STATISTICS`` of each channel of inputs (n_samples, n_channels, L or H, W).

    Those of rows and steps are along the first axis of a channel, of the means over the other.

    Returns
    -------
    float64 array of shape (n_samples, n_statistics * n_channels), channels last
    """
    wide = np.asarray(x, dtype=np.float64)
    flat = wide.reshape(*x.shape[:2], -1)
    # (n_samples, n_channels, L) stays; (n_samples, n_channels, H, W) -> (..., H)
    rows = wide.reshape(*x.shape[:3], -1).mean(axis=3)
    steps = np.diff(rows, axis=2) if rows.shape[2] > 1 else np.zeros_like(rows)
    positions = np.arange(rows.shape[2]) - (rows.shape[2] - 1) / 2
    slope = rows @ positions / max(float(positions @ positions), 1.0)
    return np.concatenate(
        [
            flat.mean(2), flat.std(2), flat.min(2), flat.max(2), np.median(flat, 2),
            rows[:, :, 0], rows[:, :, -1], slope, np.abs(steps).mean(2), steps.std(2),
        ],
        axis=1,
    )  # fmt: skip


def spectral_features(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the power spectrum of each channel of signals (n_samples, n_channels, L) says.

    The logarithms of the power in each band and in all of them; centroid, spread and peak of the
    spectrum in periods per signal. From the periodogram under a Hann window, without which a slow
    trend would leak into all bands (Harris, Proceedings of the IEEE 66, 1978).

    Returns
    -------
    float64 array of shape (n_samples, (n_bands + 4) * n_channels), channels last
    """
    wide = np.asarray(x, dtype=np.float64)
    length = wide.shape[2]
    windowed = (wide - wide.mean(axis=2, keepdims=True)) * np.hanning(length)
    # (n_samples, n_channels, L) -> (n_samples, n_channels, L // 2): without the mean
    power = np.abs(np.fft.rfft(windowed)[:, :, 1:]) ** 2 / length**2 + FLOOR
    n = power.shape[2]
    starts = np.unique(np.geomspace(1, n + 1, N_SPECTRAL_BANDS + 1).round().astype(int)[:-1]) - 1
    bands = np.add.reduceat(power, starts, axis=2)
    total = power.sum(axis=2)
    periods = np.arange(1, n + 1)
    centroid = power @ periods / total
    spread = np.sqrt(np.maximum(power @ periods**2 / total - centroid**2, 0.0))
    return np.concatenate(
        [
            *np.moveaxis(np.log10(bands), 2, 0),
            np.log10(total), centroid, spread, periods[power.argmax(axis=2)],
        ],
        axis=1,
    )  # fmt: skip
