"""Standardisation: the scaler, and statistics per channel or target, computed piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TINY = float(np.finfo(np.float32).tiny)
MEAN = "mean"  # as ``dataset.thinning``
BLOCK_VALUES = 2**20  # values copied to float64 at a time: 8 MB


@dataclass(frozen=True)
class Standardizer:
    """Shift and scale to mean 0 and standard deviation 1 along axis 1.

    ``mean`` and ``std`` have shape (n_features,), in the unit of the data; for the features whose
    numbers are in ``logarithmic`` they are those of the natural logarithm.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    logarithmic: tuple[int, ...] = ()

    def on_scale(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return ``values`` (n_samples, n_features, ...), the logarithmic ones as logarithms."""
        return logarithms(values, self.logarithmic)

    def transform(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Standardise ``values`` of shape (n_samples, n_features, ...)."""
        shape, values = _along_axis_1(values.ndim), self.on_scale(values)
        return ((values - self.mean.reshape(shape)) / self.std.reshape(shape)).astype(np.float32)

    def inverse(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Convert standardised ``values`` of shape (n_samples, n_features, ...) to their unit."""
        shape = _along_axis_1(values.ndim)
        found = values * self.std.reshape(shape) + self.mean.reshape(shape)
        for k in self.logarithmic:
            found[:, k] = np.exp(found[:, k])
        return found.astype(np.float32)


def logarithms(values: NDArray[Any], logarithmic: Sequence[int]) -> NDArray[Any]:
    """Return ``values`` with the natural logarithm of these columns of axis 1."""
    if not len(logarithmic):
        return values
    found = values.astype(np.float64)
    for k in logarithmic:  # what a mixture or a correction takes below zero counts as tiny
        found[:, k] = np.log(np.maximum(found[:, k], TINY))
    return found


class RunningStatistics:
    """Mean, standard deviation, range and counts at the rails per feature, updated by piece.

    NaN, for a value that was not measured, does not count.

    Pieces are merged by the pairwise update of Chan, Golub and LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances" (1979). It stays exact where the naive sum of
    squares suffers from cancellation.
    """

    def __init__(self, n_features: int) -> None:
        self.count = np.zeros(n_features, dtype=np.int64)
        self.mean = np.zeros(n_features)
        self._m2 = np.zeros(n_features)  # sum of squared deviations from the mean
        self.min = np.full(n_features, np.inf)
        self.max = np.full(n_features, -np.inf)
        self._at_min = np.zeros(n_features)
        self._at_max = np.zeros(n_features)

    def update(self, values: NDArray[Any]) -> None:
        """Add ``values`` of shape (n_samples, n_features, ...)."""
        for block in in_blocks(values):
            # (n_samples, n_features, ...) -> (n_samples, n_features, n_values)
            flat = np.asarray(block, dtype=np.float64).reshape(*block.shape[:2], -1)
            gaps = np.isnan(flat)
            self._update_moments(flat, gaps if gaps.any() else None)
            self._update_range(flat)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of shape (n_features,), with divisor n."""
        return np.sqrt(self._m2 / np.maximum(self.count, 1))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Whether a feature varies; ``std`` cannot tell, since rounding can make it non-zero."""
        return np.asarray(self.max > self.min)

    @property
    def share_at_rails(self) -> NDArray[np.float64]:
        """Share of values that repeat the smallest or the largest value, of shape (n_features,).

        It is 0 for a continuous signal, large if an amplifier clips, and 1 for a constant signal.
        """
        repeated = np.maximum(self._at_min + self._at_max - 2, 0) / np.maximum(self.count, 1)
        return np.where(self.varies, repeated, 1.0)

    def standardizer(self) -> Standardizer:
        """Return the scaler for the values added so far."""
        return Standardizer(self.mean.copy(), self.std)

    def _update_moments(self, flat: NDArray[np.float64], gaps: NDArray[np.bool_] | None) -> None:
        n: Any = len(flat) * flat.shape[2]
        if gaps is None:
            mean = flat.mean(axis=(0, 2))
            squares = ((flat - mean[:, None]) ** 2).sum(axis=(0, 2))
        else:
            n = (~gaps).sum(axis=(0, 2))
            mean = np.where(gaps, 0.0, flat).sum(axis=(0, 2)) / np.maximum(n, 1)
            squares = np.where(gaps, 0.0, (flat - mean[:, None]) ** 2).sum(axis=(0, 2))
        delta = mean - self.mean
        total = self.count + n
        self._m2 += squares + delta**2 * self.count * n / np.maximum(total, 1)
        self.mean += delta * n / np.maximum(total, 1)
        self.count = total

    def _update_range(self, flat: NDArray[np.float64]) -> None:
        low, high = (f.reduce(flat, axis=(0, 2)) for f in (np.fmin, np.fmax))
        self._at_min = np.where(low < self.min, 0.0, self._at_min)
        self._at_max = np.where(high > self.max, 0.0, self._at_max)
        self.min = np.fmin(self.min, low)
        self.max = np.fmax(self.max, high)
        self._at_min += (flat == self.min[:, None]).sum(axis=(0, 2))
        self._at_max += (flat == self.max[:, None]).sum(axis=(0, 2))


def thinned(x: NDArray[Any], factor: int, averaged: bool) -> NDArray[Any]:
    """Return one row of axis 2 for every ``factor``: their mean, or the first of them.

    The mean filters what is faster than the rows that are left; the last one may be of fewer rows.
    """
    if factor == 1 or not averaged:
        return x[:, :, ::factor]
    starts = np.arange(0, x.shape[2], factor)
    lengths = np.diff(np.append(starts, x.shape[2])).astype(np.float32)
    sums = np.add.reduceat(x, starts, axis=2)
    means: NDArray[Any] = sums / lengths.reshape(1, 1, -1, *(1,) * (x.ndim - 3))
    return means


def in_blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield consecutive samples in blocks small enough to copy."""
    step = max(1, BLOCK_VALUES // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), step):
        yield values[start : start + step]


def _along_axis_1(ndim: int) -> tuple[int, ...]:
    return (1, -1) + (1,) * (ndim - 2)
