"""What the held-out parts say of a settled winner: errors with intervals, skill, coverage.

Arrays of truth and predictions have shape (n_samples, n_targets) and are in the targets' units;
those of the members of an ensemble have shape (n_members, n_samples, n_targets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from hpo_utils.baselines import MEAN, Baseline, best_baselines, joined_test, training_mean
from hpo_utils.config import Config
from hpo_utils.data import PreparedData
from hpo_utils.evaluation import Coverage, Examination, Skill, TargetMetrics
from hpo_utils.intervals import Interval, count_units, ratio_interval, unexplained_interval
from hpo_utils.metrics import Calibration, target_metrics, varies
from hpo_utils.physics import violations
from hpo_utils.yardstick import create_yardstick

Array = NDArray[np.float32]

NETWORK = "network"  # among the names of the baselines
NO_BETTER_THAN_MEAN = "not shown to beat the mean"


def examine(
    data: PreparedData,
    cfg: Config,
    baselines: list[Baseline],
    held: dict[str, NDArray[np.float32]],
    confidence: float,
) -> Examination:
    """Return what the held-out parts say of the network.

    ``cfg`` is its configuration, ``held`` as in ``winner.load_predictions``.
    """
    names, groups, units = data.target_names, data.groups("test"), data.units("test")
    y_val, y_test = held["val_true"], held["test_true"]
    val_pred, test_pred = held["val"].mean(axis=0), held["test"].mean(axis=0)
    best = best_baselines(baselines, y_val)
    reference, mean = joined_test(best), training_mean(baselines)
    models = {NETWORK: test_pred, **{b.name: b.test_pred for b in baselines}}
    n_models = len(models) - 1  # that might beat the mean
    singles = [target_metrics(y_test, member, names) for member in held["test"]]
    val_units = data.units("val")
    calibration = calibrate_spread(y_val, held["val"], confidence, val_units)
    n_val_units = count_units(len(y_val), val_units)
    promised = min(confidence, n_val_units / (n_val_units + 1))
    on_validation = {NETWORK: val_pred, **{b.name: b.val_pred for b in baselines}}
    return {
        "scores": scores_of_parts(
            data, cfg, {"val": (y_val, val_pred), "test": (y_test, test_pred)}
        ),
        "n_test": len(y_test),
        "n_test_groups": None if groups is None else len(np.unique(groups)),
        "n_test_units": count_units(len(y_test), units),
        "validation": target_metrics(y_val, val_pred, names),
        "test": errors_with_intervals(y_test, models, names, units, confidence),
        "best_baseline": [b.name for b in best],
        "skill": skill_with_intervals(y_test, test_pred, reference, units, confidence),
        "skill_over_mean": {
            model: skill_with_intervals(y_test, y_pred, mean, units, confidence, n_models)
            for model, y_pred in models.items()
            if model != MEAN
        },
        "single_r2": [[single[name]["r2"] for name in names] for single in singles],
        "constant": {
            part: [name for name, known in zip(names, varies(y), strict=True) if not known]
            for part, y in (("val", y_val), ("test", y_test))
        },
        "n_val_units": n_val_units,
        "intervals": None if calibration is None else asdict(calibration),
        # of few units the highest rank is less than what is wanted: Lei et al. 2018, sec. 2.2
        "spread_confidence": promised,
        "coverage": None
        if calibration is None
        else coverage(y_test, held["test"], calibration, promised),
        "violations": {
            model: violations(y_pred, data.physics, names)
            for model, y_pred in on_validation.items()
        },
    }


def scores_of_parts(
    data: PreparedData, cfg: Config, parts: Mapping[str, tuple[Array, Array]]
) -> dict[str, float | None]:
    """Return the score of each part, given truth and prediction in units.

    By the yardstick of the study; None where it is not defined, as R² of a constant target.
    """
    yardstick = create_yardstick(cfg, data.target_names, data.targets("val"))
    scores = {}
    for part, (y_true, y_pred) in parts.items():
        z_true, z_pred = (
            torch.from_numpy(data.target_scaler.transform(y).astype(np.float32))
            for y in (y_true, y_pred)
        )
        score = float(yardstick(z_pred, z_true))
        scores[part] = score if np.isfinite(score) else None
    return scores


def network_verdict(examination: Examination, k: int) -> str:
    """Return how the network does on target ``k``: ``better``, ``worse`` or ``unclear``.

    Against the best baseline. But that was chosen on the validation part and may fail on the test
    part: to beat it is worth nothing (``NO_BETTER_THAN_MEAN``) unless the mean is beaten as well.
    """
    skill, over_mean = examination["skill"][k], examination["skill_over_mean"][NETWORK][k]
    is_mean = examination["best_baseline"][k] == MEAN
    return joint_verdict(skill, skill if is_mean else over_mean)


def joint_verdict(skill: Skill, over_mean: Skill) -> str:
    """Return the verdict over the best baseline, which is worth nothing if the mean holds out."""
    beats_in_vain = skill["verdict"] == "better" and over_mean["verdict"] != "better"
    return NO_BETTER_THAN_MEAN if beats_in_vain else skill["verdict"]


def errors_with_intervals(
    y_true: Array,
    predictions: Mapping[str, Array],
    names: list[str],
    groups: NDArray[np.int64] | None,
    confidence: float,
) -> dict[str, dict[str, TargetMetrics]]:
    """Return for each model and target the metrics, and intervals of R² and RMSE."""
    truth = y_true.astype(np.float64)
    known = varies(y_true)
    found: dict[str, dict[str, TargetMetrics]] = {}
    for model, y_pred in predictions.items():
        errors = (y_pred.astype(np.float64) - truth) ** 2
        unexplained = unexplained_interval(errors, truth, groups, confidence)
        mse = ratio_interval(errors, np.ones_like(errors), groups, confidence)
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
    """Return for each target the skill over a reference, its interval, and what it amounts to.

    The skill is 1 - MSE / MSE of the reference: 1 is perfect, 0 as good as the reference (Murphy,
    Monthly Weather Review 116 (1988), 2417-2424); None where the reference is perfect, or the truth
    does not vary: of one value nothing can be told.
    ``verdict`` is ``better`` or ``worse`` where the interval leaves out zero, else ``unclear``.
    Of many targets, in each of ``n_models`` models, one would do so by chance: the intervals are
    wider by Bonferroni's rule, so that ``confidence`` is that of all of them together.
    """
    ours, theirs = (
        (y.astype(np.float64) - y_true) ** 2 for y in (y_pred, reference)
    )  # (n_samples, n_targets)
    ratios = _ratio(ours.mean(axis=0), theirs.mean(axis=0), _rounding(y_true))
    ratios[~varies(y_true)] = np.nan
    together = 1 - (1 - confidence) / (y_true.shape[1] * n_models)
    intervals = ratio_interval(ours, theirs, groups, together)
    return [_skill(ratio, *interval) for ratio, interval in zip(ratios, intervals, strict=True)]


def _unlike(ratio: Interval) -> Interval:
    """Return the interval of one minus a ratio."""
    low, high = ratio
    return (None, None) if low is None or high is None else (1 - high, 1 - low)


def _root(square: Interval) -> Interval:
    """Return the interval of the square root."""
    low, high = square
    return (None, None) if low is None or high is None else (low**0.5, high**0.5)


def _skill(ratio: float, low: float | None, high: float | None) -> Skill:
    """Return the skill, its interval and its verdict, given a ratio of errors and its interval."""
    skill = None if np.isnan(ratio) else float(1 - ratio)
    if skill is None or low is None or high is None:
        return {"skill": skill, "interval": (None, None), "verdict": "unclear"}
    verdict = "better" if high < 1 else "worse" if low > 1 else "unclear"
    return {"skill": skill, "interval": _unlike((low, high)), "verdict": verdict}


def calibrate_spread(
    y_true: Array, members: Array, confidence: float, units: NDArray[np.int64] | None = None
) -> Calibration | None:
    """Return intervals around the members' mean that hold ``confidence`` of the given samples.

    By split conformal prediction with a normalised score (Lei et al., J. Am. Stat. Assoc. 113
    (2018), 1094-1111, sec. 5.2), at the rank that as many samples have as there are ``units``, by
    sample: those of a unit err together. None with fewer than two members.
    """
    if len(members) < 2:
        return None
    error = np.abs(members.mean(axis=0, dtype=np.float64) - y_true)
    residual = np.sqrt((error**2).mean(axis=0))
    normalised = error / np.maximum(np.hypot(_spread(members), residual), np.finfo(np.float64).tiny)
    n_units = count_units(len(error), units)
    held = min(int(np.ceil((n_units + 1) * confidence)), n_units)  # units
    rank = -(-held * len(error) // n_units)  # samples, rounded up
    factors = np.sort(normalised, axis=0)[rank - 1]
    return Calibration(factors.tolist(), residual.tolist())


def coverage(
    y_true: Array, members: Array, calibration: Calibration, confidence: float
) -> list[Coverage]:
    """Return for each target how intervals of nominally ``confidence`` do on the given samples.

    ``calibrated``: the share that they hold; ``half_width``: their median, in the target's unit;
    ``plain``: the share that they would hold if the members' spread were taken for the standard
    deviation of a normal error.
    """
    error, spread = np.abs(members.mean(axis=0) - y_true), _spread(members)
    half_width = calibration.half_width(spread)
    normal = float(stats.norm.ppf((1 + confidence) / 2))
    found = zip(
        (error <= half_width).mean(axis=0),
        np.median(half_width, axis=0),
        (error <= normal * spread).mean(axis=0),
        strict=True,
    )
    return [
        {"calibrated": float(held), "half_width": float(width), "plain": float(plain)}
        for held, width, plain in found
    ]


def _spread(members: Array) -> NDArray[np.float64]:
    """Return the standard deviation of the members, of shape (n_samples, n_targets)."""
    return np.asarray(members.std(axis=0, ddof=1, dtype=np.float64))


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], negligible: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratio, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > negligible)


def _rounding(y_true: Array) -> NDArray[np.float64]:
    """Return for each target the squared error that rounding to float32 makes."""
    largest: NDArray[np.float64] = np.abs(y_true).max(axis=0).astype(np.float64)
    return (np.finfo(np.float32).eps * largest) ** 2
