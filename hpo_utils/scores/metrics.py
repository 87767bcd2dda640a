"""Metrics per target in the target's unit; None where a metric is undefined."""

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
        truth; unit of the target) and ``r2``. ``r2`` is None if the truth does not vary.
    """
    return {
        name: _metrics_of_one(y_true[:, k].astype(np.float64), y_pred[:, k].astype(np.float64))
        for k, name in enumerate(names)
    }


def varies(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which targets of (n_samples, n_targets) vary by more than float32 rounding.

    Scores of a constant target are meaningless, because it was measured at one value only.
    """
    exact = y.astype(np.float64)
    rounding = 4.0 * np.finfo(np.float32).eps * np.abs(exact).max(axis=0)
    return np.asarray(np.ptp(exact, axis=0) > rounding)


def standardized_errors(
    y_true: NDArray[Any], y_pred: NDArray[Any], scaler: Standardizer
) -> dict[str, float]:
    """Return ``mse`` and ``mae`` over all targets, each target in its standard deviations."""
    error = (y_pred.astype(np.float64) - y_true) / scaler.std
    return {"mse": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}


def _metrics_of_one(truth: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float | None]:
    error = prediction - truth
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
