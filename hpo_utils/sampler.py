"""The sampler: TPE whose draws depend on the study's seed and the trial's number alone."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from hpo_utils.config import Config


class NumberedTPESampler(BaseSampler):
    """TPE (Optuna's), seeded anew for each trial and setting.

    Optuna stores no state of a sampler. With one seed for a whole run, a study that goes on after
    an interruption would suggest its first trials again, and so would a second worker; with another
    seed each time it would go on differently from a study that nobody disturbed. Here the number of
    a trial decides, so an interrupted search finds what it would have found.

    Settings under one condition are sampled together, as a group: each alone would search all
    finished trials once more.

    Parameters
    ----------
    seed
        The study's.
    n_startup_trials
        Finished trials before TPE begins; until then the draws are uniform.
    """

    def __init__(self, seed: int, n_startup_trials: int) -> None:
        self._seed, self._n_startup_trials = seed, n_startup_trials
        self._joint = self._create(0, "")

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin a trial: what is sampled together comes from one sampler of its own."""
        self._joint = self._create(trial.number, "")

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are sampled together."""
        return self._joint.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample them."""
        return self._joint.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        distribution: BaseDistribution,
    ) -> Any:
        """Sample one setting, whichever were sampled before."""
        own = self._create(trial.number, param_name)
        return own.sample_independent(study, trial, param_name, distribution)

    def _create(self, number: int, name: str) -> TPESampler:
        digest = hashlib.sha256(f"{self._seed} {number} {name}".encode()).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of group
            return TPESampler(
                n_startup_trials=self._n_startup_trials, multivariate=True, group=True,
                seed=int.from_bytes(digest[:4], "big"),
            )  # fmt: skip


def create_sampler(cfg: Config) -> NumberedTPESampler:
    """Return the sampler of a study."""
    return NumberedTPESampler(cfg.study.seed, cfg.study.n_startup_trials)
