"""Beside the race: what the constraints change, and what a random split would promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo_utils.config import Config, updated
from hpo_utils.data import PreparedData
from hpo_utils.members import load_member, predict_part
from hpo_utils.paths import resolve
from hpo_utils.physics import violations
from hpo_utils.reevaluation import CONSTRAIN, Contender, complete_settings, train_all
from hpo_utils.resplit import RandomSplit
from hpo_utils.search_space import SearchSpace
from hpo_utils.storage import AGAIN, RANDOM_SPLIT, score_of

N_COMPARED = 3  # seeds of the race that are trained in another way, at most


def without_physics(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData, winner: Contender
) -> dict[str, Any] | None:
    """Train the winner's configuration without constraints, to show what they change.

    None where nothing is known of the targets, or the winner is not constrained. The validation
    part alone is looked at.
    """
    constrained = winner.params.get(CONSTRAIN, cfg.model.constrain_outputs)
    seeds = [seed for seed, score in winner.scores.items() if np.isfinite(score)][:N_COMPARED]
    if not (data.physics and constrained and seeds):
        return None
    settings = {
        f"without constraints, seed {seed}": {
            **complete_settings(cfg, winner.params, seed),
            CONSTRAIN: False,
        }
        for seed in seeds
    }
    shut = updated(cfg, {"evaluation.strict_test": True})
    trials = train_all(study, AGAIN, shut, space, data, settings)
    both = [
        (winner.scores[seed], score_of(trial), trial.user_attrs["output_dir"])
        for seed, trial in zip(seeds, trials, strict=True)
        if trial.state == TrialState.COMPLETE
    ]
    if not both:
        return None
    root = resolve(cfg.paths.outputs_root)
    members = [load_member(root / output_dir) for _, _, output_dir in both]
    broken = [
        violations(y, data.physics, data.target_names) for y in predict_part(members, data, "val")
    ]
    return {
        "constrained_scores": [kept for kept, _, _ in both],
        "scores": [free for _, free, _ in both],
        "violations": {rule: float(np.mean([b[rule] for b in broken])) for rule in broken[0]},
    }


def on_random_split(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData, winner: Contender
) -> dict[str, Any]:
    """Train the winner's configuration on a split that ignores the groups.

    Training and validation part are dealt out anew; the test part stays shut.

    Returns
    -------
    dict
        ``as_split`` and ``at_random``, or ``why_not`` where there is nothing to compare.
    """
    seeds = [seed for seed, score in winner.scores.items() if np.isfinite(score)][:N_COMPARED]
    if data.groups("train") is None:
        return {"why_not": "There are no groups to keep together (`dataset.groups`)."}
    if cfg.data_split.method == "random":
        return {"why_not": "The split ignores the groups already (`data_split.method`)."}
    if not (cfg.evaluation.compare_random_split and seeds):
        return {"why_not": "Nothing was trained on a random split, to compare with."}
    shut = updated(cfg, {"evaluation.strict_test": True})
    settings = {
        f"on a random split, seed {seed}": complete_settings(cfg, winner.params, seed)
        for seed in seeds
    }
    dealt = RandomSplit(data.directory, data.manifest)
    trials = train_all(study, RANDOM_SPLIT, shut, space, dealt, settings)
    both = [
        (winner.directories[seed], trial.user_attrs["output_dir"])
        for seed, trial in zip(seeds, trials, strict=True)
        if trial.state == TrialState.COMPLETE
    ]
    if not both:
        return {"why_not": "Every training on a random split diverged."}
    root = resolve(cfg.paths.outputs_root)
    return {
        kind: _mean_validation([root / directory for directory in directories])
        for kind, directories in zip(
            ("as_split", "at_random"), zip(*both, strict=True), strict=True
        )
    }


def _mean_validation(directories: list[Path]) -> dict[str, Any]:
    """Return the mean score and R² per target, on the validation part, of several trainings."""
    metrics = [json.loads((d / "metrics.json").read_text(encoding="utf-8")) for d in directories]
    r2 = {k: [m["val_targets"][k]["r2"] for m in metrics] for k in metrics[0]["val_targets"]}
    return {
        "n_seeds": len(metrics),
        "score": float(np.mean([m["score"] for m in metrics])),
        "r2": {k: None if None in values else float(np.mean(values)) for k, values in r2.items()},
    }
