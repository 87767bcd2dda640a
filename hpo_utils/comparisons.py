"""Beside the race: what the constraints change, and what a random split would promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config, updated
from hpo_utils.data import PreparedData
from hpo_utils.evaluation import WithoutPhysics
from hpo_utils.members import load_member, predict_part
from hpo_utils.paths import resolve
from hpo_utils.physics import violations
from hpo_utils.reevaluation import Contender
from hpo_utils.resplit import RandomSplit
from hpo_utils.retraining import CONSTRAIN, Settings, complete_settings, train_all, widened
from hpo_utils.search_space import SearchSpace
from hpo_utils.storage import AGAIN, RANDOM_SPLIT, score_of
from hpo_utils.trial_files import read_metrics

N_COMPARED = 3  # seeds of the race that are trained in another way, at most


def without_physics(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData, winner: Contender
) -> WithoutPhysics | None:
    """Train the winner's configuration without constraints, to show what they change.

    None where nothing is known of the targets, or the winner is not constrained. The validation
    part alone is looked at.
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
        violations(y, data.physics, data.target_names) for y in predict_part(members, data, "val")
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

    Training and validation part are dealt out anew; the test part stays shut.

    Returns
    -------
    dict
        ``as_split`` and ``at_random``, or ``why_not`` where there is nothing to compare.
    """
    if data.groups("train") is None:
        return {"why_not": "There are no groups to keep together (`dataset.groups`)."}
    if cfg.data_split.method == "random":
        return {"why_not": "The split ignores the groups already (`data_split.method`)."}
    seeds = raced_seeds(winner)
    if not (cfg.evaluation.compare_random_split and seeds):
        return {"why_not": "Nothing was trained on a random split, to compare with."}
    dealt = RandomSplit(data.directory, data.manifest)
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


def raced_seeds(winner: Contender) -> list[int]:
    """Return the seeds of the race that the winner is trained with in another way."""
    return [seed for seed, score in winner.scores.items() if np.isfinite(score)][:N_COMPARED]


def train_winner(
    study: optuna.Study,
    suffix: str,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    winner: Contender,
    seeds: Sequence[int],
    variants: Mapping[str, Settings],
) -> list[dict[int, FrozenTrial]]:
    """Train the winner with other settings; return for each variant who completed, by seed.

    ``variants`` are the changed settings, by what they are called. The test part stays shut.
    """
    searched = widened(space)
    settings = {
        f"{what}, seed {seed}": searched_in(
            searched, cfg, {**complete_settings(cfg, winner.params, seed), **changes}
        )
        for what, changes in variants.items()
        for seed in seeds
    }
    shut = updated(cfg, {"evaluation.strict_test": True})
    trials = iter(train_all(study, suffix, shut, space, data, settings))
    return [
        {seed: t for seed in seeds if (t := next(trials)).state == TrialState.COMPLETE}
        for _ in variants
    ]


def searched_in(space: SearchSpace, cfg: Config, settings: Settings) -> Settings:
    """Return the settings without those that are searched on a condition they do not meet."""
    return {p.name: settings[p.name] for p in space.parameters if p.applies(cfg, settings)}


def _mean_validation(directories: list[Path], names: list[str]) -> dict[str, Any]:
    """Return the mean score and R² per target, on the validation part, of several trainings."""
    metrics = [read_metrics(directory) for directory in directories]
    # by their order: a training may be older than the targets' names
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
