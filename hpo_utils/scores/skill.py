"""Error metrics with intervals, and the skill of a model over a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from hpo_utils.scores.intervals import Interval, ratio_interval, unexplained_interval
from hpo_utils.scores.metrics import NETWORK as NETWORK
from hpo_utils.scores.metrics import mean_of_measured, target_metrics, varies

# for one target: mse, mae, rmse, bias, r2, and intervals of r2 and rmse
TargetMetrics = dict[str, Any]


class Skill(TypedDict):
    """The share of a reference's squared error that a model removes, for one target."""

    skill: float | None
    interval: Interval
    verdict: str  # better, worse or unclear


Array = NDArray[np.float32]

NO_BETTER_THAN_MEAN = "not shown to beat the mean"


def joint_verdict(skill: Skill, over_mean: Skill) -> str:
    """Return the verdict over the best baseline; "better" counts only if it also beats the mean."""
    beats_in_vain = skill["verdict"] == "better" and over_mean["verdict"] != "better"
    return NO_BETTER_THAN_MEAN if beats_in_vain else skill["verdict"]


def errors_with_intervals(
    y_true: Array,
    predictions: Mapping[str, Array],
    names: list[str],
    groups: NDArray[np.int64] | None,
    confidence: float,
) -> dict[str, dict[str, TargetMetrics]]:
    """Return the metrics and the intervals of R² and RMSE for each model and target."""
    truth = y_true.astype(np.float64)
    known = varies(y_true)
    found: dict[str, dict[str, TargetMetrics]] = {}
    for model, y_pred in predictions.items():
        errors = (y_pred.astype(np.float64) - truth) ** 2
        unexplained = unexplained_interval(errors, truth, groups, confidence)
        mse = ratio_interval(errors, np.where(np.isnan(errors), np.nan, 1.0), groups, confidence)
        found[model] = {
            name: {
                **metrics,
                "r2_interval": _unlike(unexplained[k]) if known[k] else (None, None),
                "rmse_interval": _root(mse[k]),
            }
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
) -> list[Skill]:
    """Return the skill over a reference, its interval and its verdict, for each target.

    The skill is 1 - MSE / MSE of the reference: 1 is perfect, 0 is as good as the reference
    (Murphy, Monthly Weather Review 116 (1988), 2417-2424). It is None if the reference is perfect,
    or if the truth does not vary, since a single value tells nothing.
    ``verdict`` is ``better`` or ``worse`` if the interval excludes zero, otherwise ``unclear``.
    With many targets in each of ``n_models`` models, one interval would exclude zero by chance.
    Bonferroni's correction therefore widens the intervals: ``confidence`` holds for all of them
    together.
    """
    ours, theirs = (
        (y.astype(np.float64) - y_true) ** 2 for y in (y_pred, reference)
    )  # (n_samples, n_targets)
    ratios = _ratio(mean_of_measured(ours), mean_of_measured(theirs), _rounding(y_true))
    ratios[~varies(y_true)] = np.nan
    together = 1 - (1 - confidence) / (y_true.shape[1] * n_models)
    intervals = ratio_interval(ours, theirs, groups, together)
    return [_skill(ratio, *interval) for ratio, interval in zip(ratios, intervals, strict=True)]


def _unlike(ratio: Interval) -> Interval:
    """Return the interval of one minus the ratio."""
    low, high = ratio
    return (None, None) if low is None or high is None else (1 - high, 1 - low)


def _root(square: Interval) -> Interval:
    """Return the interval of the square root."""
    low, high = square
    return (None, None) if low is None or high is None else (low**0.5, high**0.5)


def _skill(ratio: float, low: float | None, high: float | None) -> Skill:
    """Return the skill, its interval and its verdict from a ratio of errors and its interval."""
    skill = None if np.isnan(ratio) else float(1 - ratio)
    if skill is None or low is None or high is None:
        return {"skill": skill, "interval": (None, None), "verdict": "unclear"}
    verdict = "better" if high < 1 else "worse" if low > 1 else "unclear"
    return {"skill": skill, "interval": _unlike((low, high)), "verdict": verdict}


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], negligible: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratio; NaN where the denominator is negligible."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > negligible)


def _rounding(y_true: Array) -> NDArray[np.float64]:
    """Return the squared error caused by rounding to float32, for each target."""
    largest: NDArray[np.float64] = np.fmax.reduce(np.abs(y_true), axis=0).astype(np.float64)
    return (np.finfo(np.float32).eps * largest) ** 2
