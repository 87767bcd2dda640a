"""Is number one really number one? The best trials, trained again with fresh seeds.

The study's best trial is the luckiest of many: its score flatters it. Here the best few and the
base configuration meet again on seeds that chose nobody; the mean over the seeds ranks them, and a
contender that is clearly beaten gets no more of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config, updated
from hpo_utils.data import PreparedData
from hpo_utils.errors import StudyError
from hpo_utils.executors import run_workers
from hpo_utils.intervals import paired_p_value
from hpo_utils.ownership import recover_interrupted
from hpo_utils.paths import resolve
from hpo_utils.progress import WANTED
from hpo_utils.search_space import Parameter, SearchSpace
from hpo_utils.stopping import create_stop
from hpo_utils.storage import (
    AGAIN,
    FINISHED,
    count_finished,
    create_pruner,
    enqueued_params,
    open_storage,
    score_of,
)
from hpo_utils.workers import Search

SEED, CONSTRAIN = "training.seed", "model.constrain_outputs"
FIRST_ROUND = 2  # seeds before anyone can be beaten
POLL = 1.0  # seconds between two looks at what other processes train

Settings = dict[str, Any]  # a value for each searched parameter, seed and constraint included


@dataclass
class Contender:
    """A configuration in the race.

    ``scores`` and ``directories`` (relative to ``outputs_root``) are by seed; ``study_score`` is
    what the study gave it, None if it was not completed there.
    """

    trial: int | None
    is_base: bool
    params: Settings
    study_score: float | None
    scores: dict[int, float] = field(default_factory=dict)
    directories: dict[int, str] = field(default_factory=dict)
    beaten: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        if self.trial is None:
            return "base configuration"
        return f"trial {self.trial}" + (" (base)" if self.is_base else "")

    @property
    def mean(self) -> float:
        """Mean score over the seeds so far."""
        return float(np.mean(list(self.scores.values()))) if self.scores else float("inf")


def reevaluate(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData
) -> list[Contender]:
    """Race the best trials and the base configuration over fresh seeds.

    Trainings done before are found again, so running twice costs nothing.

    Returns
    -------
    list of Contender
        The winner first: those with all seeds by mean score, then the beaten ones.
    """
    contenders = choose_contenders(study, cfg, space)
    seeds = fresh_seeds(cfg)
    print(f"again: {len(contenders)} configurations on up to {len(seeds)} fresh seeds each")
    done = min(FIRST_ROUND, len(seeds))
    while True:
        racing = [contender for contender in contenders if not contender.beaten]
        pairs = [(contender, seed) for seed in seeds[:done] for contender in racing]
        wanted = {
            f"{contender.name} with seed {seed}": complete_settings(cfg, contender.params, seed)
            for contender, seed in pairs
        }
        trials = train_all(study, AGAIN, cfg, space, data, wanted)
        for (contender, seed), trial in zip(pairs, trials, strict=True):
            complete = trial.state == TrialState.COMPLETE  # else its loss diverged
            contender.scores[seed] = score_of(trial) if complete else float("inf")
            contender.directories[seed] = trial.user_attrs["output_dir"]
        if done == len(seeds):  # no seed is left to spare: who is still there gets a p value
            for contender in racing:
                contender.beaten = bool(np.isinf(contender.mean))  # diverged
            return sorted(contenders, key=lambda c: (np.isinf(c.mean), c.beaten, c.mean))
        race(contenders, cfg.evaluation.confidence)
        done += 1


def wait_for_others(study: optuna.Study, cfg: Config) -> None:
    """Wait until the trials have ended that other processes are running now: one may be the best.

    Raises
    ------
    StopRequest
        If a person made the file ``optuna/STOP`` below ``outputs_root``.
    """
    root, stop = resolve(cfg.paths.outputs_root), create_stop(updated(cfg, {"study.timeout": None}))
    recover_interrupted(study, root, cfg.study.silent_after_s)
    awaited = _running(study)
    if awaited:
        print(f"waiting for trials that other processes run: {sorted(awaited)}", flush=True)
    while awaited:
        time.sleep(POLL)
        stop.check()
        recover_interrupted(study, root, cfg.study.silent_after_s)
        awaited &= _running(study)


def choose_contenders(study: optuna.Study, cfg: Config, space: SearchSpace) -> list[Contender]:
    """Return the ``evaluation.n_best`` best different trials and the base configuration.

    Without the base if ``study.try_base`` is off: it may lie outside the space then.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    base = _without_seed(space.values_in(cfg)) if cfg.study.try_base else None
    contenders: dict[str, Contender] = {}
    for trial in sorted(complete, key=score_of):
        params = _without_seed(trial.params)
        if params == base or len(contenders) < cfg.evaluation.n_best:
            new = Contender(trial.number, params == base, params, trial.value)
            contenders.setdefault(settings_key(params), new)
    if base is not None:
        contenders.setdefault(settings_key(base), Contender(None, True, base, None))
    return list(contenders.values())


def race(contenders: list[Contender], confidence: float) -> None:
    """Mark those as beaten whose scores are worse than the leader's on the same seeds.

    This only spares seeds: it asks often and does not correct for it, so what the race ends with is
    judged by the corrected p values in ``winner.describe_race``.
    """
    racing = [contender for contender in contenders if not contender.beaten]
    leader = min(racing, key=lambda contender: contender.mean)
    for contender in racing:
        theirs = [contender.scores[seed] for seed in leader.scores]
        p_value = paired_p_value(theirs, list(leader.scores.values()), "greater")
        worse = p_value is not None and p_value < 1 - confidence
        if contender is not leader and (worse or np.isinf(contender.mean)):
            contender.beaten = True


def fresh_seeds(cfg: Config) -> list[int]:
    """Return ``evaluation.n_seeds`` seeds of trainings, none of them that of the search."""
    state = np.random.SeedSequence(cfg.study.seed).generate_state(cfg.evaluation.n_seeds + 1)
    return [int(seed) for seed in state if seed != cfg.training.seed][: cfg.evaluation.n_seeds]


def complete_settings(cfg: Config, params: Settings, seed: int) -> Settings:
    """Return the parameters with a seed, and whether outputs are constrained."""
    return {CONSTRAIN: cfg.model.constrain_outputs, **params, SEED: seed}


def train_all(
    study: optuna.Study,
    suffix: str,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    wanted: Mapping[str, Settings],
) -> list[FrozenTrial]:
    """Train what is wanted and not yet there, as trials of a study named after ``study``.

    They go through the same workers and leave the same files as any trial; nothing is pruned.
    Several processes may want the same: each training is done by one of them, and all wait for it.
    ``wanted`` are settings by what to call them.

    Raises
    ------
    StudyError
        If a training fails.
    StopRequest
        If a person made the file ``optuna/STOP`` below ``outputs_root``.
    """
    again = optuna.create_study(
        study_name=f"{study.study_name}-{suffix}", storage=open_storage(cfg), load_if_exists=True
    )
    changes = {"study.pruner": "none", "study.max_consecutive_failures": 1, "study.timeout": None}
    cfg = updated(cfg, changes)
    again.pruner = create_pruner(cfg)
    names = {settings_key(settings): name for name, settings in wanted.items()}
    search = Search(cfg, widened(space), data, create_stop(cfg), queued_only=True)
    asked, told = set[str](), False

    def say(trial: FrozenTrial) -> None:
        diverged = trial.value is None or trial.state != TrialState.COMPLETE
        score = "no score" if diverged else f"score {trial.value:.4f}"
        print(f"again: {names.get(settings_key(trial.params), trial.params)}: {score}", flush=True)

    while True:
        recover_interrupted(again, resolve(cfg.paths.outputs_root), cfg.study.silent_after_s)
        # in this order: what another process ends between the two is in both, not in none
        in_hand, finished = _in_hand(again), _finished(again)
        missing = names.keys() - finished.keys()
        if not missing:
            return [finished[settings_key(settings)] for settings in wanted.values()]
        lost = missing - in_hand
        if lost & asked:
            raise StudyError(
                "every training must be finished before the winner is settled, but"
                f" {names[min(lost & asked)]} failed in another process, which says why"
            )
        for settings in wanted.values():
            if settings_key(settings) in lost:
                again.enqueue_trial(settings)
        asked |= lost
        again.set_user_attr(WANTED, count_finished(again) + len(missing))
        if n_waiting := len(again.get_trials(deepcopy=False, states=(TrialState.WAITING,))):
            run_workers(again, search, n_waiting, say)
        elif not told:
            left = f"{len(missing)} of {len(wanted)}"
            print(f"again: waiting for another process, which trains {left}", flush=True)
            told = True
        else:
            time.sleep(POLL)
        search.stop.check()


def widened(space: SearchSpace) -> SearchSpace:
    """Return the space with the seed, and whether outputs are constrained, as parameters."""
    added = (
        Parameter(SEED, IntDistribution(0, 2**32 - 1)),
        Parameter(CONSTRAIN, CategoricalDistribution([True, False])),
    )
    names = [parameter.name for parameter in added]
    # first, as others may be searched on condition of them
    return SearchSpace((*added, *(p for p in space.parameters if p.name not in names)))


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same settings."""
    return json.dumps(settings, sort_keys=True)


def _without_seed(params: Mapping[str, Any]) -> Settings:
    return {name: value for name, value in params.items() if name != SEED}


def _running(study: optuna.Study) -> set[int]:
    """Return the numbers of the trials that run."""
    return {t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}


def _in_hand(again: optuna.Study) -> set[str]:
    """Return what waits or is being trained, by whatever process."""
    states = (TrialState.WAITING, TrialState.RUNNING)
    trials = again.get_trials(deepcopy=False, states=states)
    return {settings_key(enqueued_params(trial) or {}) for trial in trials}


def _finished(again: optuna.Study) -> dict[str, FrozenTrial]:
    return {
        settings_key(trial.params): trial
        for trial in again.get_trials(deepcopy=False, states=FINISHED)
    }
