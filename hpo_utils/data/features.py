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
# of equal ratio, as octaves are, between one period and Nyquist's frequency, along each axis
N_SPECTRAL_BANDS = {1: 24, 2: 8}
MIN_SIGNAL = {1: 16, 2: 8}  # values along each axis for a spectrum to say something
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
    """Return what the power spectrum of each channel says: logarithms of the power in bands.

    From the periodogram under a Hann window, without which a slow trend would leak into all bands
    (Harris, Proceedings of the IEEE 66, 1978). For signals (n_samples, n_channels, L) also the
    power of all bands, and centroid, spread and peak of the spectrum in periods per signal. For
    images (n_samples, n_channels, H, W) in bands of both axes, the constant one included: what
    moves along one axis while the other passes is found there, whichever way it moves.

    Returns
    -------
    float64 array of shape (n_samples, n_features * n_channels), channels last
    """
    wide = np.asarray(x, dtype=np.float64)
    axes = tuple(range(2, x.ndim))
    windowed = wide - wide.mean(axis=axes, keepdims=True)
    for axis in axes:
        shape = [-1 if axis == other else 1 for other in range(x.ndim)]
        windowed *= np.hanning(x.shape[axis]).reshape(shape)
    power = np.abs(np.fft.rfftn(windowed, axes=axes)) ** 2 / windowed[0, 0].size ** 2 + FLOOR
    found = _of_images(power) if x.ndim == 4 else _of_signals(power[:, :, 1:])
    # (n_samples, n_channels, n_features) -> (n_samples, n_features * n_channels)
    return np.swapaxes(found, 1, 2).reshape(len(x), -1)


def _of_signals(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the features (n_samples, n_channels, n_features) of power (..., L // 2) from 1 on."""
    n = power.shape[2]
    bands = np.add.reduceat(power, _band_starts(n, N_SPECTRAL_BANDS[1]), axis=2)
    total = power.sum(axis=2)
    periods = np.arange(1, n + 1)
    centroid = power @ periods / total
    spread = np.sqrt(np.maximum(power @ periods**2 / total - centroid**2, 0.0))
    moments = [np.log10(total), centroid, spread, periods[power.argmax(axis=2)]]
    return np.concatenate([np.log10(bands), np.stack(moments, axis=2)], axis=2)


def _of_images(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the features (n_samples, n_channels, n_features) of power (..., H, W // 2 + 1)."""
    height = power.shape[2]
    folded = power[:, :, : height // 2 + 1].copy()  # frequency k of H and its mirror image, H - k
    mirrored = power[:, :, : height // 2 : -1]
    folded[:, :, 1 : mirrored.shape[2] + 1] += mirrored
    for axis in (2, 3):
        starts = _band_starts(folded.shape[axis] - 1, N_SPECTRAL_BANDS[2] - 1) + 1
        folded = np.add.reduceat(folded, [0, *starts], axis=axis)
    return np.log10(folded.reshape(*power.shape[:2], -1))


def _band_starts(n: int, n_bands: int) -> NDArray[np.int64]:
    """Return where bands of equal ratio start among n frequencies, of which the first is 1."""
    edges = np.geomspace(1, n + 1, n_bands + 1).round().astype(np.int64)
    return np.unique(edges[:-1]) - 1
