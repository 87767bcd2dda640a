"""Two comparisons with the winner: without its constraints, and on a random split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna

from hpo_utils.base.config import Config, updated
from hpo_utils.base.paths import resolve
from hpo_utils.bundle.members import load_member, predict_part
from hpo_utils.data.physics import violations
from hpo_utils.data.prepared import PreparedData
from hpo_utils.study.retraining import CONSTRAIN, Settings
from hpo_utils.training.directory import read_metrics
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import AGAIN, RANDOM_SPLIT, score_of
from hpo_utils.winner.contenders import Contender, raced_seeds, train_winner
from hpo_utils.winner.evaluation import WithoutPhysics
from hpo_utils.winner.resplit import split_at_random


def without_physics(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData, winner: Contender
) -> WithoutPhysics | None:
    """Train the winner's configuration without constraints, to show what they change.

    Return None if no physics is known for the targets, if the winner is not constrained, or if no
    training completed. Only the validation part is used.
    """
    constrained = winner.params.get(CONSTRAIN, cfg.model.constrain_outputs)
    seeds = raced_seeds(winner)
    if not (data.physics and constrained and seeds):
        return None
    variants = {"without constraints": {CONSTRAIN: False}}
    (free,) = train_winner(study, AGAIN, cfg, space, data, winner, seeds, variants)
    if not free:
        return None
    root = resolve(cfg.paths.outputs_root)
    members = [load_member(root / trial.user_attrs["output_dir"]) for trial in free.values()]
    broken = [
        violations(
            predict_part([member], data.used_by(member[0]), "val")[0],
            data.physics,
            data.target_names,
        )
        for member in members
    ]
    return {
        "constrained_scores": [winner.scores[seed] for seed in free],
        "scores": [score_of(trial) for trial in free.values()],
        "violations": {rule: float(np.mean([b[rule] for b in broken])) for rule in broken[0]},
    }


def on_random_split(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData, winner: Contender
) -> dict[str, Any]:
    """Train the winner's configuration on a split that ignores the groups.

    Training and validation samples are redistributed at random; the test part is not used.

    Returns
    -------
    dict
        ``as_split`` and ``at_random``, or ``why_not`` with the reason for having no comparison.
    """
    if data.groups("train") is None:
        return {"why_not": "There are no groups to keep together (`dataset.groups`)."}
    if cfg.data_split.method == "random":
        return {"why_not": "The split ignores the groups already (`data_split.method`)."}
    seeds = raced_seeds(winner)
    if not (cfg.evaluation.compare_random_split and seeds):
        return {"why_not": "Nothing was trained on a random split, to compare with."}
    dealt = split_at_random(data)
    cfg = updated(cfg, {"evaluation.score_folds": 1, "evaluation.race_folds": 1})
    variants: dict[str, Settings] = {"on a random split": {}}
    (at_random,) = train_winner(study, RANDOM_SPLIT, cfg, space, dealt, winner, seeds, variants)
    if not at_random:
        return {"why_not": "Every training on a random split diverged."}
    root, names = resolve(cfg.paths.outputs_root), data.target_names
    directories = {
        "as_split": [root / winner.directories[seed] for seed in at_random],
        "at_random": [root / trial.user_attrs["output_dir"] for trial in at_random.values()],
    }
    return {kind: _mean_validation(each, names) for kind, each in directories.items()}


def _mean_validation(directories: list[Path], names: list[str]) -> dict[str, Any]:
    """Return the mean validation score and R² per target over several trainings."""
    metrics = [read_metrics(directory) for directory in directories]
    # by position: the targets may have been renamed since the training
    r2 = zip(*([of["r2"] for of in m["val_targets"].values()] for m in metrics), strict=True)
    return {
        "n_seeds": len(metrics),
        "scores": [m["score"] for m in metrics],
        "score": float(np.mean([m["score"] for m in metrics])),
        "r2": {
            name: None if None in values else float(np.mean(values))
            for name, values in zip(names, r2, strict=True)
        },
    }
