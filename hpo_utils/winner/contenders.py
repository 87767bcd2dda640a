"""Contenders of the race, and variants of the winner's training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config, updated
from hpo_utils.data.prepared import PreparedData
from hpo_utils.study.retraining import (
    Settings,
    complete_settings,
    in_turn,
    train_all,
    widened,
)
from hpo_utils.trials.search_space import SearchSpace


@dataclass
class Contender:
    """A configuration in the race.

    ``scores``, ``directories`` (relative to ``outputs_root``) and ``val_folds``, the fold that
    validated, are indexed by seed;
    ``study_score`` is the score in the study, None if no trial of it was completed there.
    """

    trial: int | None
    is_base: bool
    params: Settings
    study_score: float | None
    scores: dict[int, float] = field(default_factory=dict)
    directories: dict[int, str] = field(default_factory=dict)
    beaten: bool = False
    val_folds: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name shown to the user."""
        if self.trial is None:
            return "base configuration"
        return f"trial {self.trial}" + (" (base)" if self.is_base else "")

    @property
    def mean(self) -> float:
        """Mean score over the seeds so far, infinite without seeds."""
        return float(np.mean(list(self.scores.values()))) if self.scores else float("inf")


def luckiest(contenders: Iterable[Contender]) -> Contender:
    """Return the contender with the best score in the study.

    The study may have found a better trial since the contenders were chosen.
    """
    completed = [c for c in contenders if c.study_score is not None]
    return min(completed, key=lambda contender: contender.study_score or 0.0)


N_COMPARED = 2  # maximum number of race seeds on which variants are trained


def raced_seeds(winner: Contender) -> list[int]:
    """Return the race seeds on which variants of the winner are trained."""
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
    """Train variants of the winner; return the complete trials of each variant by seed.

    ``variants`` maps the name of each variant to its changed settings. The test part is not used.
    """
    n_folds = len(data.race_folds(cfg))
    space = in_turn(space, n_folds)
    searched = widened(space)
    settings = {
        f"{what}, seed {seed}": searched_in(
            searched, cfg, {**complete_settings(cfg, winner.params, seed, n_folds), **changes}
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
    """Return the settings without conditional parameters whose condition they do not meet."""
    return {p.name: settings[p.name] for p in space.parameters if p.applies(cfg, settings)}
