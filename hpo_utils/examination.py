"""What the held-out parts say of a settled winner: errors with intervals, skill, coverage.

Arrays of truth and predictions have shape (n_samples, n_targets) and are in the targets' units;
those of the members of an ensemble have shape (n_members, n_samples, n_targets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hpo_utils.intervals import percentile_interval, ratio_interval, resampled_errors
from hpo_utils.metrics import target_metrics

LARGEST_FACTOR = 1e6  # from a spread to an interval; beyond it there is no spread

Array = NDArray[np.float32]
ByTarget = dict[str, dict[str, Any]]


def errors_with_intervals(
    y_true: Array,
    predictions: Mapping[str, Array],
    names: list[str],
    groups: NDArray[np.int64] | None,
    confidence: float,
) -> dict[str, ByTarget]:
    """Return for each model and target the metrics, and bootstrap intervals of R² and RMSE.

    All models are resampled alike, so that they meet the same draws.
    """
    resampled, variance = resampled_errors(y_true, list(predictions.values()), groups)
    negligible = _rounding(y_true)
    found: dict[str, ByTarget] = {}
    for (model, y_pred), mse in zip(predictions.items(), resampled, strict=True):
        r2 = percentile_interval(1 - _ratio(mse, variance, negligible), confidence)
        rmse = percentile_interval(mse**0.5, confidence)
        found[model] = {
            name: {**metrics, "r2_interval": r2[k], "rmse_interval": rmse[k]}
            for k, (name, metrics) in enumerate(target_metrics(y_true, y_pred, names).items())
        }
    return found


def skill_with_intervals(
    y_true: Array,
    y_pred: Array,
    reference: Array,
    groups: NDArray[np.int64] | None,
    confidence: float,
    n_models: int = 1,
) -> list[dict[str, Any]]:
    """Return for each target the skill over a reference, its interval, and what it amounts to.

    The skill is 1 - MSE / MSE of the reference: 1 is perfect, 0 as good as the reference (Murphy,
    Monthly Weather Review 116 (1988), 2417-2424); None where the reference is perfect.
    ``verdict`` is ``better`` or ``worse`` where the interval leaves out zero, else ``unclear``.
    Of many targets, in each of ``n_models`` models, one would do so by chance: the intervals are
    wider by Bonferroni's rule, so that ``confidence`` is that of all of them together.
    """
    ours, theirs = (
        (y.astype(np.float64) - y_true) ** 2 for y in (y_pred, reference)
    )  # (n_samples, n_targets)
    ratios = _ratio(ours.mean(axis=0), theirs.mean(axis=0), _rounding(y_true))
    together = 1 - (1 - confidence) / (y_true.shape[1] * n_models)
    intervals = ratio_interval(ours, theirs, groups, together)
    return [_skill(ratio, *interval) for ratio, interval in zip(ratios, intervals, strict=True)]


def _skill(ratio: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Return the skill, its interval and its verdict, given a ratio of errors and its interval."""
    skill = None if np.isnan(ratio) else float(1 - ratio)
    if skill is None or low is None or high is None:
        return {"skill": skill, "interval": (None, None), "verdict": "unclear"}
    verdict = "better" if high < 1 else "worse" if low > 1 else "unclear"
    return {"skill": skill, "interval": (1 - high, 1 - low), "verdict": verdict}


def calibrate_spread(y_true: Array, members: Array, confidence: float) -> list[float] | None:
    """Return for each target the factor from the members' spread to an interval's half width.

    Such that the intervals hold ``confidence`` of the given samples (split conformal prediction
    with a normalised score: Lei et al., J. Am. Stat. Assoc. 113 (2018), 1094-1111, sec. 5.2). None
    with fewer than two members, or where they agree so often that no factor would do.
    """
    if len(members) < 2:
        return None
    n_samples = len(y_true)
    with np.errstate(over="ignore"):
        ratio = np.abs(members.mean(axis=0) - y_true) / spread_of(members)
    rank = min(int(np.ceil((n_samples + 1) * confidence)), n_samples)
    factors = np.sort(ratio.astype(np.float64), axis=0)[rank - 1]
    return factors.tolist() if (factors < LARGEST_FACTOR).all() else None


def spread_of(members: Array) -> Array:
    """Return the standard deviation of the members, of shape (n_samples, n_targets), above zero."""
    spread: Array = members.std(axis=0, ddof=1)
    return np.maximum(spread, np.finfo(np.float32).tiny)


def coverage(
    y_true: Array, members: Array, factors: Sequence[float], confidence: float
) -> list[dict[str, float]]:
    """Return for each target the share of samples inside intervals of nominally ``confidence``.

    ``calibrated`` by the factors of ``calibrate_spread``; ``plain`` as if the members' spread were
    the standard deviation of a normal error.
    """
    error, spread = np.abs(members.mean(axis=0) - y_true), spread_of(members)
    normal = float(stats.norm.ppf((1 + confidence) / 2))
    return [
        {
            "calibrated": float((error[:, k] <= factor * spread[:, k]).mean()),
            "plain": float((error[:, k] <= normal * spread[:, k]).mean()),
        }
        for k, factor in enumerate(factors)
    ]


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], negligible: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratio, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > negligible)


def _rounding(y_true: Array) -> NDArray[np.float64]:
    """Return for each target the squared error that rounding to float32 makes."""
    largest: NDArray[np.float64] = np.abs(y_true).max(axis=0).astype(np.float64)
    return (np.finfo(np.float32).eps * largest) ** 2
