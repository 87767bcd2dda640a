"""How sure a number is: intervals of means and of test metrics, paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

N_RESAMPLES = 2000  # Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13: >= 1000

Interval = tuple[float | None, float | None]


def mean_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return Student's interval of the mean of values; (None, None) of fewer than two."""
    if len(values) < 2:
        return None, None
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def is_beaten(values: Sequence[float], best: Sequence[float], confidence: float) -> bool:
    """Return whether paired ``values`` are higher than ``best`` on average, beyond chance.

    One-sided paired t test (Student, Biometrika 6 (1908), 1-25) at level ``1 - confidence``.
    """
    difference = np.subtract(values, best)
    if len(difference) < 2:
        return False
    lowest = stats.t.ppf(confidence, len(difference) - 1) * stats.sem(difference)
    return bool(difference.mean() - lowest > 0)


def paired_p_value(values: Sequence[float], best: Sequence[float]) -> float | None:
    """Return the two-sided p value of a paired t test; None with fewer than two pairs."""
    difference = np.subtract(values, best)
    if len(difference) < 2:
        return None
    if np.ptp(difference) == 0:  # no spread to compare with
        return 1.0 if difference[0] == 0 else 0.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for being several (Holm, Scand. J. Statist. 6 (1979), 65-70)."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[i] = highest
    return corrected


def resampling_weights(
    n_samples: int, groups: NDArray[np.int64] | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Return how often each sample is drawn in each resample of a bootstrap.

    With ``groups``, of shape (n_samples,), whole groups are drawn: samples of one recording err
    together, and count as one.

    Returns
    -------
    float64 array of shape (N_RESAMPLES, n_samples)
    """
    unit = np.arange(n_samples) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    draws = np.random.default_rng(seed).multinomial(n_units, [1 / n_units] * n_units, N_RESAMPLES)
    return draws[:, unit].astype(np.float64)


def resampled_mse(
    y_true: NDArray[Any], y_pred: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the MSE per target in each resample, of shape (n_resamples, n_targets)."""
    squared = (y_pred.astype(np.float64) - y_true) ** 2
    mse: NDArray[np.float64] = weights @ squared / weights.sum(axis=1, keepdims=True)
    return mse


def resampled_r2(
    y_true: NDArray[Any], y_pred: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return R² per target in each resample; NaN where the truth drawn does not vary."""
    y = y_true.astype(np.float64)
    y = y - y.mean(axis=0)  # so that the difference of squares below does not cancel
    total = weights.sum(axis=1, keepdims=True)
    variance = weights @ y**2 / total - (weights @ y / total) ** 2
    ratio = np.full_like(variance, np.nan)
    mse = resampled_mse(y_true, y_pred, weights)
    np.divide(mse, variance, out=ratio, where=variance > 1e-12 * y.var(axis=0))
    r2: NDArray[np.float64] = 1.0 - ratio
    return r2


def percentile_interval(values: NDArray[np.float64], confidence: float) -> list[Interval]:
    """Return the percentile interval of each column of (n_resamples, n_targets)."""
    tail = 100 * (1 - confidence) / 2
    found: list[Interval] = []
    for column in values.T:
        finite = column[np.isfinite(column)]
        if len(finite) < 0.9 * len(column):
            found.append((None, None))
        else:
            low, high = np.percentile(finite, [tail, 100 - tail])
            found.append((float(low), float(high)))
    return found
