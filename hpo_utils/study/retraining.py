"""Train given settings, each of them once, by any process that is free.

The trainings are trials of a companion of the study from which the settings come: they run on the
same workers and leave the same files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import StudyError
from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import PreparedData
from hpo_utils.study.companions import MARK, companion_name
from hpo_utils.study.progress import WANTED
from hpo_utils.training.directory import has_directory
from hpo_utils.training.stopping import create_stop
from hpo_utils.trials.earlier import VAL_FOLD
from hpo_utils.trials.ownership import recover_interrupted
from hpo_utils.trials.search_space import Parameter, SearchSpace
from hpo_utils.trials.storage import (
    FINISHED,
    count_finished,
    create_pruner,
    enqueue,
    enqueued_params,
    open_storage,
)
from hpo_utils.workers.executors import run_workers
from hpo_utils.workers.worker import Search

SEED, CONSTRAIN = "training.seed", "model.constrain_outputs"
POLL = 1.0  # seconds between two checks of what other processes train

Settings = dict[str, Any]  # a value for each searched parameter, including seed and constraint


def train_all(
    study: optuna.Study,
    suffix: str,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    wanted: Mapping[str, Settings],
) -> list[FrozenTrial]:
    """Train the wanted settings that are not trained yet, as trials of a companion of ``study``.

    Nothing is pruned. Several processes may want the same trainings: one of them runs each
    training, and all wait for it. ``wanted`` maps the name of each training to its settings.

    Raises
    ------
    StudyError
        If a training fails.
    StopRequest
        If somebody created the file ``optuna/STOP`` below ``outputs_root``.
    """
    storage, root = open_storage(cfg), resolve(cfg.paths.outputs_root)
    name = companion_name(storage, study.study_name, suffix, root)
    retrained = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    retrained.set_user_attr(MARK, study.study_name)
    cfg = updated(
        cfg,
        {
            "study.pruner": "none", "study.timeout": None, "study.budget": None,
            "study.trial_figures": False,
        },
    )  # fmt: skip
    retrained.pruner = create_pruner(cfg)
    names = {settings_key(settings): name for name, settings in wanted.items()}
    search = Search(cfg, widened(space), data, create_stop(cfg), queued_only=True)
    asked, told = set[str](), False

    while True:
        recover_interrupted(retrained, root, cfg.study.silent_after_s)
        # in this order: a training that ends between the two calls is in both, not in neither
        in_hand, finished = _in_hand(retrained), _finished(retrained, root, space)
        missing = names.keys() - finished.keys()
        # two processes that enqueue at the same moment each wait for the other's trials, too
        unfinished = missing | (names.keys() & in_hand)
        if not unfinished:
            return [finished[settings_key(settings)] for settings in wanted.values()]
        lost = missing - in_hand
        if failed := sorted(lost & asked):
            raise StudyError(
                "every training must be finished before the winner is settled, but"
                f" {names[failed[0]]} failed: {_failure(retrained, failed[0])}"
            )
        for settings in wanted.values():
            if settings_key(settings) in lost:
                enqueue(retrained, settings)
        asked |= lost
        retrained.set_user_attr(WANTED, count_finished(retrained) + len(unfinished))
        if n_waiting := len(retrained.get_trials(deepcopy=False, states=(TrialState.WAITING,))):
            run_workers(retrained, search, n_waiting, lambda trial: _say(trial, names))
        elif not told:
            left = f"{len(unfinished)} of {len(wanted)}"
            print(f"retraining: waiting for another process, which trains {left}", flush=True)
            told = True
        else:
            time.sleep(POLL)
        search.stop.check()


def _say(trial: FrozenTrial, names: Mapping[str, str]) -> None:
    """Print a line on an ended training; ``names`` maps the keys of settings to names."""
    diverged = trial.value is None or trial.state != TrialState.COMPLETE
    score = "no score" if diverged else f"score {trial.value:.4f}"
    print(f"retraining: {names.get(settings_key(trial.params), trial.params)}: {score}", flush=True)


def fresh_seeds(cfg: Config) -> list[int]:
    """Return ``evaluation.n_seeds`` training seeds that differ from the seed of the search."""
    state = np.random.SeedSequence(cfg.study.seed).generate_state(cfg.evaluation.n_seeds + 1)
    return [int(seed) for seed in state if seed != cfg.training.seed][: cfg.evaluation.n_seeds]


def complete_settings(cfg: Config, params: Settings, seed: int, n_folds: int = 1) -> Settings:
    """Return the parameters, completed by the seed and the output constraint.

    If several folds validate in turn, each of the ``fresh_seeds`` takes the next one: then the
    trainings of a contender are judged by the samples of all folds.
    """
    fold = {VAL_FOLD: fresh_seeds(cfg).index(seed) % n_folds} if n_folds > 1 else {}
    return {CONSTRAIN: cfg.model.constrain_outputs, **params, SEED: seed, **fold}


def widened(space: SearchSpace) -> SearchSpace:
    """Return the space with the seed and the output constraint added as parameters."""
    return _with(
        space,
        Parameter(SEED, IntDistribution(0, 2**32 - 1)),
        Parameter(CONSTRAIN, CategoricalDistribution([True, False])),
    )


def in_turn(space: SearchSpace, n_folds: int) -> SearchSpace:
    """Return the space with the validation fold as a parameter, if there are several."""
    if n_folds == 1:
        return space
    return _with(space, Parameter(VAL_FOLD, IntDistribution(0, n_folds - 1)))


def _with(space: SearchSpace, *added: Parameter) -> SearchSpace:
    names = [parameter.name for parameter in added]
    # first, since they may be the condition of other parameters
    return SearchSpace((*added, *(p for p in space.parameters if p.name not in names)))


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a string that is equal for equal settings."""
    return json.dumps(settings, sort_keys=True)


def _in_hand(retrained: optuna.Study) -> set[str]:
    """Return the keys of settings that wait or are being trained, by any process."""
    states = (TrialState.WAITING, TrialState.RUNNING)
    trials = retrained.get_trials(deepcopy=False, states=states)
    return {settings_key(enqueued_params(trial) or {}) for trial in trials}


def _finished(retrained: optuna.Study, root: Path, space: SearchSpace) -> dict[str, FrozenTrial]:
    """Return the finished trainings whose directories still exist, by the key of their settings.

    Of several trainings with the same settings the first is returned, so that every process gets
    the same one every time. Fold 1 of 3 holds other samples than fold 1 of 5: trainings on folds of
    another number do not count.
    """
    folds = space.distributions.get(VAL_FOLD)
    there = [
        trial
        for trial in retrained.get_trials(deepcopy=False, states=FINISHED)
        if trial.distributions.get(VAL_FOLD, folds) == folds and has_directory(trial, root)
    ]
    return {settings_key(trial.params): trial for trial in reversed(there)}


def _failure(retrained: optuna.Study, key: str) -> str:
    """Return why the last training with these settings failed."""
    failed = retrained.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    said = [
        str(trial.user_attrs["failure"])
        for trial in failed
        if "failure" in trial.user_attrs and settings_key(enqueued_params(trial) or {}) == key
    ]
    return said[-1] if said else "its process died"
