"""Residual analysis: worst samples and groups, and conditions under which errors grow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hpo_utils.scores.metrics import mean_of_measured

Array = NDArray[np.float32]


def sample_errors(y_true: Array, y_pred: Array, target_std: ArrayLike) -> NDArray[np.float64]:
    """Return each sample's root mean square error over its targets, shape (n_samples,).

    It is NaN for a sample in which no target was measured. Errors are in units of ``target_std``,
    each target's standard deviation in the training part.
    """
    z = _standardised(y_true, y_pred, target_std)
    return np.sqrt(mean_of_measured(z.T**2))


def worst_samples(y_true: Array, y_pred: Array, target_std: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return the indices of the ``n`` samples with the largest ``sample_errors``, worst first."""
    errors = sample_errors(y_true, y_pred, target_std)
    return np.argsort(-errors, kind="stable")[:n]


def errors_by_group(
    y_true: Array,
    y_pred: Array,
    groups: NDArray[np.int64],
    names: Sequence[str],
    target_std: ArrayLike,
) -> pd.DataFrame:
    """Return RMSE in standard deviations, one row per group and one column per target.

    The group with the largest error over all targets comes first.
    """
    z = _standardised(y_true, y_pred, target_std)
    squares = pd.DataFrame(z**2, columns=list(names))
    by_group = squares.groupby(groups)
    mean = by_group.mean()
    whole = np.sqrt(mean.mean(axis=1))
    parts = [by_group.size().rename("samples"), np.sqrt(mean), whole.rename("all targets")]
    table = pd.concat(parts, axis=1)  # a target may share one of these names
    return table.loc[whole.sort_values(ascending=False).index].rename_axis("group")


def error_correlations(y_true: Array, y_pred: Array, names: Sequence[str]) -> pd.DataFrame:
    """Return the correlation of each target's absolute error with each target's true value.

    Returns
    -------
    DataFrame
        Spearman's rank correlation between the absolute error of the row's target and the true
        value of the column's target; NaN where either is constant or with fewer than 3 samples.
    """
    size = np.abs(y_pred - y_true)  # NaN where a target was not measured
    found = [[_rank_correlation(a, b) for b in y_true.T] for a in size.T]
    return pd.DataFrame(found, index=list(names), columns=list(names))


def _standardised(y_true: Array, y_pred: Array, target_std: ArrayLike) -> NDArray[np.float64]:
    """Return the errors (n_samples, n_targets) in standard deviations of each target."""
    return np.asarray((y_pred - y_true) / np.asarray(target_std, dtype=np.float64))


def _rank_correlation(a: Array, b: Array) -> float:
    known = ~np.isnan(a + b)
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy.stats import spearmanr  # slow, and not needed by every report

    return float(spearmanr(a, b).statistic)
