"""Evaluation of a settled winner on the held-out parts: errors with intervals, skill, coverage.

Arrays of true and predicted values have shape (n_samples, n_targets) and are in the targets' units;
predictions of the ensemble members have shape (n_members, n_samples, n_targets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.baselines.domain import Domain, distances
from hpo_utils.baselines.fitted import MEAN, Baseline, best_baselines, joined_test, training_mean
from hpo_utils.baselines.take_home import TAKE_HOME, Shares, name_at_home, taken_home
from hpo_utils.data.physics import violations
from hpo_utils.data.prepared import PreparedData
from hpo_utils.scores.calibration import reach_of
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.merit import figures_of_merit
from hpo_utils.scores.metrics import measured, target_metrics, varies
from hpo_utils.scores.skill import (
    NETWORK,
    Array,
    errors_with_intervals,
    joint_verdict,
    skill_with_intervals,
)
from hpo_utils.scores.spread import (
    calibrate_spread,
    coverage,
    share_inside_together,
    spread_of,
)
from hpo_utils.scores.yardstick import create_yardstick
from hpo_utils.winner.evaluation import Evaluation, Examination, PromisedIntervals, Skills


def examine(
    data: PreparedData,
    cfg: Config,
    baselines: list[Baseline],
    predictions: dict[str, NDArray[np.float32]],
    confidence: float,
    domain: Domain,
    take_home: str = "auto",
) -> Examination:
    """Evaluate the network, the baselines and what goes home on the held-out parts.

    ``cfg`` is the network's configuration; ``predictions`` is what
    ``settle.load_predictions`` returns; intervals are wider outside of ``domain``; ``take_home`` is
    ``evaluation.take_home`` of the study.
    """
    names, groups, units = data.target_names, data.groups("test"), data.independent_units("test")
    y_val, y_test = predictions["val_true"], predictions["test_true"]
    val_pred, test_pred = predictions["val"].mean(axis=0), predictions["test"].mean(axis=0)
    shares, home = taken_home(take_home, data, baselines, predictions)
    home_pred = home["test"].mean(axis=0)
    models = {NETWORK: test_pred, **{b.name: b.test_pred for b in baselines}}
    if len(shares) > 1:
        models[TAKE_HOME] = home_pred
    singles = [target_metrics(y_test, member, names) for member in predictions["test"]]
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
        "shares": shares,
        **_skills(data, baselines, models, y_test, home_pred, confidence),
        "merit": figures_of_merit(
            y_test,
            home_pred,
            names,
            units,
            confidence,
            data.manifest.get("target_repeatability"),
            data.target_scaler.logarithmic,
            groups,
        ),
        "single_r2": [[single[name]["r2"] for name in names] for single in singles],
        "constant": {
            part: [name for name, known in zip(names, varies(y), strict=True) if not known]
            for part, y in (("val", y_val), ("test", y_test))
        },
        **_intervals(data, home, y_val, y_test, confidence, domain),
        "violations": {
            model: violations(y_pred, data.physics, names)
            for model, y_pred in on_validation.items()
        },
        "without_onnx": None,  # until the file is written
    }


def _skills(
    data: PreparedData,
    baselines: list[Baseline],
    models: Mapping[str, Array],
    y_test: Array,
    home_pred: Array,
    confidence: float,
) -> Skills:
    """Compare network and what goes home with the best baselines, and all models with the mean."""
    units, on_scale = data.independent_units("test"), data.target_scaler.on_scale
    best = best_baselines(baselines, data)
    truth, mean = on_scale(y_test), on_scale(training_mean(baselines))
    reference = on_scale(joined_test(best))
    n_models = len(models) - 1  # that might beat the mean by chance
    network, home = (
        skill_with_intervals(truth, on_scale(y_pred), reference, units, confidence)
        for y_pred in (models[NETWORK], home_pred)
    )
    return {
        "best_baseline": [b.name for b in best],
        "skill": network,
        "skill_home": home,
        "skill_over_mean": {
            model: skill_with_intervals(truth, on_scale(y_pred), mean, units, confidence, n_models)
            for model, y_pred in models.items()
            if model != MEAN
        },
    }


def _intervals(
    data: PreparedData,
    home: Mapping[str, Array],
    y_val: Array,
    y_test: Array,
    confidence: float,
    domain: Domain,
) -> PromisedIntervals:
    """Calibrate intervals of what goes home on the validation part, and try them on the test part.

    ``home`` holds what goes home predicts of both, (n_members, n_samples, n_targets).
    """
    val_units, home_pred = data.independent_units("val"), home["test"].mean(axis=0)
    reach = reach_of(distances(domain, data.inputs("test")))
    calibration = calibrate_spread(
        y_val, home["val"], confidence, val_units, data.target_scaler.logarithmic
    )
    n_val_units = min(
        count_units(int(known.sum()), None if val_units is None else val_units[known])
        for known in measured(y_val).T
    )
    # n units of the target that was measured in the fewest allow a level of n / (n + 1) at most:
    # Lei et al. 2018, sec. 2.2
    promised = min(confidence, n_val_units / (n_val_units + 1))
    joint = calibration.joint_half_width(spread_of(home["test"]), home_pred)
    return {
        "n_val_units": n_val_units,
        "intervals": asdict(calibration),
        "spread_confidence": promised,
        "coverage": coverage(y_test, home["test"], calibration, promised, reach),
        "joint_coverage": share_inside_together(
            np.abs(home_pred - y_test), None if joint is None else reach[:, None] * joint
        ),
    }


def scores_of_parts(
    data: PreparedData, cfg: Config, parts: Mapping[str, tuple[Array, Array]]
) -> dict[str, float | None]:
    """Return the score of each part from true and predicted values in the targets' units.

    The score is that of the study; None where it is undefined, like R² of a constant target.
    """
    yardstick = create_yardstick(cfg, data.target_names, data.targets("val"))
    scores = {}
    for part, (y_true, y_pred) in parts.items():
        z_true, z_pred = (
            torch.from_numpy(data.target_scaler.transform(y).astype(np.float32))
            for y in (y_true, y_pred)
        )
        given = data.weights(part)
        weights = None if given is None else torch.from_numpy(given)
        score = float(yardstick(z_pred, z_true, weights))
        scores[part] = score if np.isfinite(score) else None
    return scores


def shares_at_home(examination: Examination) -> Shares:
    """Return the shares of the models in what goes home; before version 6 it was the network."""
    return examination.get("shares", {NETWORK: [1.0] * len(examination["validation"])})


def validated_in_turn(evaluation: Evaluation) -> bool:
    """Return whether the members left out different samples for their validation."""
    several = len(evaluation["members"]) > 1
    return several and evaluation.get("validated_in_turn", False)


def verdict_at_home(examination: Examination, k: int) -> str:
    """Return the verdict on what goes home for target ``k``, as ``network_verdict`` does."""
    shares = shares_at_home(examination)
    if list(shares) == [NETWORK]:
        return network_verdict(examination, k)
    at_home = name_at_home(shares)
    over_mean = examination["skill_over_mean"][at_home][k]
    return joint_verdict(examination["skill_home"][k], over_mean)


def network_verdict(examination: Examination, k: int) -> str:
    """Return the network's verdict for target ``k``: ``better``, ``worse`` or ``unclear``.

    The network is compared with the best baseline. That baseline was chosen on the validation part
    and may fail on the test part, so beating it counts only if the network also beats the mean;
    otherwise the verdict is ``NO_BETTER_THAN_MEAN``.
    """
    skill, over_mean = examination["skill"][k], examination["skill_over_mean"][NETWORK][k]
    is_mean = examination["best_baseline"][k] == MEAN
    return joint_verdict(skill, skill if is_mean else over_mean)
