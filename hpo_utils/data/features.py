"""Features: each sample summarised in a few numbers, for models without a network and the audit.

Inputs have shape (n_samples, n_channels, L) for signals and (n_samples, n_channels, H, W) for
images. The features of a sample do not depend on other samples.
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
# bands along each axis, of equal ratio like octaves, from one period to the Nyquist frequency
N_SPECTRAL_BANDS = {1: 24, 2: 8}
MIN_SIGNAL = {1: 16, 2: 8}  # values along each axis that a useful spectrum needs
FLOOR = 1e-12  # added to the power, in units of the variance: smaller power counts as none


def band_means(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return band means (n_samples, n_features) of inputs (n_samples, n_channels, L or H, W)."""
    pooled = np.asarray(x, dtype=np.float64)
    for axis in range(2, x.ndim):
        bands = np.array_split(pooled, min(N_BANDS[x.ndim - 2], pooled.shape[axis]), axis)
        pooled = np.concatenate([band.mean(axis, keepdims=True) for band in bands], axis)
    return pooled.reshape(len(x), -1)


def channel_statistics(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ten ``STATISTICS`` of each channel of inputs (n_samples, n_channels, L or H, W).

    Row and step statistics are taken along a channel's first axis, after averaging over the second.

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
    """Return features of each channel's power spectrum: logarithms of the power in bands.

    The spectrum is a periodogram with a Hann window; without the window, a slow trend would leak
    into all bands (Harris, Proceedings of the IEEE 66, 1978). Signals (n_samples, n_channels, L)
    also get the total power, and the centroid, spread and peak of the spectrum in periods per
    signal. For images (n_samples, n_channels, H, W) the bands cover both axes and include frequency
    zero; they capture movement along one axis in the course of the other, in either direction.

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
    """Return features (n_samples, n_channels, n_features) of power (..., L // 2), zero left out."""
    n = power.shape[2]
    bands = np.add.reduceat(power, _band_starts(n, N_SPECTRAL_BANDS[1]), axis=2)
    total = power.sum(axis=2)
    periods = np.arange(1, n + 1)
    centroid = power @ periods / total
    spread = np.sqrt(np.maximum(power @ periods**2 / total - centroid**2, 0.0))
    moments = [np.log10(total), centroid, spread, periods[power.argmax(axis=2)]]
    return np.concatenate([np.log10(bands), np.stack(moments, axis=2)], axis=2)


def _of_images(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features (n_samples, n_channels, n_features) of power (..., H, W // 2 + 1)."""
    height = power.shape[2]
    folded = power[:, :, : height // 2 + 1].copy()  # frequency k of H plus its mirror, H - k
    mirrored = power[:, :, : height // 2 : -1]
    folded[:, :, 1 : mirrored.shape[2] + 1] += mirrored
    for axis in (2, 3):
        starts = _band_starts(folded.shape[axis] - 1, N_SPECTRAL_BANDS[2] - 1) + 1
        folded = np.add.reduceat(folded, [0, *starts], axis=axis)
    return np.log10(folded.reshape(*power.shape[:2], -1))


def _band_starts(n: int, n_bands: int) -> NDArray[np.int64]:
    """Return the start indices of bands of equal ratio among the frequencies 1 to ``n``."""
    edges = np.geomspace(1, n + 1, n_bands + 1).round().astype(np.int64)
    return np.unique(edges[:-1]) - 1
