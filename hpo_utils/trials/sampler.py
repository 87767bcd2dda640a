"""The sampler: Optuna's TPE, whose seed depends on only the study's seed and the trial number."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from hpo_utils.base.config import Config
from hpo_utils.trials.storage import FINISHED, enqueued_params


class NumberedTPESampler(BaseSampler):
    """Optuna's TPE sampler, seeded anew for each trial and setting.

    Optuna does not store a sampler's state. With one seed for every run, a resumed study would
    suggest its first trials again, and so would a second worker; with a new seed for each run, a
    resumed study would differ from an uninterrupted one. Here the seed follows from the trial
    number, so an interrupted search finds what it would have found without the interruption.

    Settings under one condition are sampled together, as a group: sampling each alone would search
    all finished trials once more. The groups and their order are those of Optuna's own
    ``group=True``. They are determined here because Optuna decomposes every finished trial again
    for each new one, which takes a third of the sampling time at 5,000 trials.

    Parameters
    ----------
    seed
        The study's seed.
    n_startup_trials
        Number of finished trials before TPE begins; until then the draws are uniform. Trials that
        were enqueued after the first one do not count: they are alike in what suits other data, and
        TPE alone would hardly leave it.
    """

    def __init__(self, seed: int, n_startup_trials: int) -> None:
        self._seed, self._n_startup_trials, self._n_given = seed, n_startup_trials, 0
        self._joint = self._create(0, "")
        self._groups: list[dict[str, BaseDistribution]] = []

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Create the trial's own sampler for the settings that are sampled together."""
        known = study.get_trials(deepcopy=False)
        self._n_given = max(0, sum(enqueued_params(each) is not None for each in known) - 1)
        self._joint = self._create(trial.number, "")

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings of all groups."""
        self._groups = group_settings(study)
        return {name: group[name] for group in self._groups for name in group}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample one group after another."""
        sampled: dict[str, Any] = {}
        for group in self._groups:
            wanted = {name: group[name] for name in group if name in search_space}
            sampled |= self._joint.sample_relative(study, trial, wanted)
        return sampled

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        distribution: BaseDistribution,
    ) -> Any:
        """Sample one setting with its own seed, whichever settings were sampled before."""
        own = self._create(trial.number, param_name)
        return own.sample_independent(study, trial, param_name, distribution)

    def _create(self, number: int, name: str) -> TPESampler:
        digest = hashlib.sha256(f"{self._seed} {number} {name}".encode()).digest()
        return TPESampler(
            n_startup_trials=self._n_startup_trials + self._n_given, multivariate=True,
            constant_liar=True,  # keeps parallel workers from trying the same values
            seed=int.from_bytes(digest[:4], "big"),
        )  # fmt: skip


def group_settings(study: optuna.Study) -> list[dict[str, BaseDistribution]]:
    """Return the settings in groups, each of which occurs in the same finished trials."""
    spaces: dict[frozenset[str], dict[str, BaseDistribution]] = {}
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        spaces.setdefault(frozenset(trial.distributions), trial.distributions)
    groups: dict[tuple[bool, ...], dict[str, BaseDistribution]] = defaultdict(dict)
    for name in sorted(set().union(*spaces)):
        distribution = next(space[name] for space in spaces.values() if name in space)
        if not distribution.single():
            groups[tuple(name in names for names in spaces)][name] = distribution
    return [groups[occurrence] for occurrence in sorted(groups, reverse=True)]


def create_sampler(cfg: Config) -> NumberedTPESampler:
    """Return the sampler of a study."""
    return NumberedTPESampler(cfg.study.seed, cfg.study.n_startup_trials)
