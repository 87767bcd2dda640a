"""Metrics per target in the target's unit; None where a metric is undefined.

NaN in the truth stands for a value that was not measured: each target counts by its own samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.data.scaling import Standardizer

NETWORK = "network"  # the network's name beside those of the baselines


def target_metrics(
    y_true: NDArray[Any], y_pred: NDArray[Any], names: list[str]
) -> dict[str, dict[str, float | None]]:
    """Compare predictions with the truth, target by target.

    Parameters
    ----------
    y_true, y_pred
        Arrays of shape (n_samples, n_targets) in the targets' units.
    names
        Names of the targets.

    Returns
    -------
    dict of dict
        For each name ``mse`` (unit squared), ``mae``, ``rmse``, ``bias`` (mean of prediction minus
        truth; unit of the target) and ``r2``. ``r2`` is None if the truth does not vary. All are
        None for a target that was not measured.
    """
    return {
        name: _metrics_of_one(y_true[known, k].astype(np.float64), y_pred[known, k])
        for k, (name, known) in enumerate(zip(names, measured(y_true).T, strict=True))
    }


def measured(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values of (n_samples, n_targets) were measured; the others are NaN."""
    return ~np.isnan(y) if y.dtype.kind == "f" else np.ones(y.shape, dtype=bool)


def mean_of_measured(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over axis 0 of the values that are not NaN; NaN where all are."""
    known = measured(values)
    if known.all():
        return np.asarray(values.mean(axis=0, dtype=np.float64))
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    found: NDArray[np.float64] = np.divide(
        total, count, out=np.full(count.shape, np.nan), where=count > 0
    )
    return found


def varies(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which targets of (n_samples, n_targets) vary by more than float32 rounding.

    Scores of a constant target are meaningless, because it was measured at one value only.
    """
    exact = y.astype(np.float64)
    rounding = 4.0 * np.finfo(np.float32).eps * np.fmax.reduce(np.abs(exact), axis=0)
    return np.asarray(np.fmax.reduce(exact, axis=0) - np.fmin.reduce(exact, axis=0) > rounding)


def standardized_errors(
    y_true: NDArray[Any], y_pred: NDArray[Any], scaler: Standardizer
) -> dict[str, float]:
    """Return ``mse`` and ``mae``, means over all targets, each in its standard deviations."""
    on_scale = [scaler.on_scale(y.astype(np.float64)) for y in (y_pred, y_true)]
    error = (on_scale[0] - on_scale[1]) / scaler.std
    return {
        "mse": float(np.mean(mean_of_measured(error**2))),
        "mae": float(np.mean(mean_of_measured(np.abs(error)))),
    }


def _metrics_of_one(truth: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float | None]:
    if not len(truth):
        return dict.fromkeys(("mse", "mae", "rmse", "bias", "r2"))
    error = prediction.astype(np.float64) - truth
    mse = float(np.mean(error**2))
    # 1 - MSE / variance equals scikit-learn's r2_score, which for a constant truth is NaN, 0/0 or
    # far below zero: equal numbers may have a variance above zero, because their mean is rounded
    variance = float(np.var(truth)) if varies(truth[:, None])[0] else 0.0
    return {
        "mse": mse,
        "mae": float(np.mean(np.abs(error))),
        "rmse": mse**0.5,
        "bias": float(np.mean(error)),
        "r2": 1.0 - mse / variance if variance > 0 else None,
    }
