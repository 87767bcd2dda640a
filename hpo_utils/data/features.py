"""Features: each sample summarised in a few numbers, for the audit and for telling what is new.

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
