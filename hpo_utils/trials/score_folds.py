"""A trial's score as the mean over several folds, where one validation part says too little.

The given validation part is the first fold. Each further one takes as many samples out of the
training part, and the given validation part trains in their place. Folds are trained one after the
other, so that a trial can be pruned between two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import DivergenceError
from hpo_utils.base.settings import DataSplitConfig
from hpo_utils.data.prepared import PreparedData, redealt
from hpo_utils.data.split import further_folds
from hpo_utils.training.directory import create_folders, mark_pruned
from hpo_utils.training.stopping import Stop
from hpo_utils.training.timing import Effort
from hpo_utils.training.train import train_trial
from hpo_utils.trials.earlier import CutShort, Ended, find_in

FEW, ENOUGH = 50, 100  # samples: a smaller validation part gets further folds, up to so many in all
MOST = 5  # folds that are chosen without being asked for
SCORES = "fold_scores"  # user attribute of a trial


def count_score_folds(cfg: Config, data: PreparedData) -> int:
    """Return how many folds make up a score: ``evaluation.score_folds``, or as few data need."""
    n_train, n_val = (int(data.manifest["n_samples"][part]) for part in ("train", "val"))
    asked = cfg.evaluation.score_folds
    if asked is None:
        asked = min(MOST, math.ceil(ENOUGH / n_val)) if n_val < FEW else 1
    return max(1, min(asked, 1 + n_train // n_val))


def list_score_folds(cfg: Config, data: PreparedData) -> list[PreparedData]:
    """Return the data of all folds; the first is ``data`` itself, the others have no test part."""
    n_folds = count_score_folds(cfg, data)
    if n_folds == 1:
        return [data]
    split = DataSplitConfig(**data.manifest["settings"]["data_split"])
    n_train, n_val = (data.manifest["n_samples"][part] for part in ("train", "val"))
    found = further_folds(n_train, n_val, n_folds - 1, split, data.groups("train"))
    further = (redealt(data, rows, f"fold-{k}-of-{n_folds}") for k, rows in enumerate(found, 2))
    return [data, *further]


def mean_over_folds(
    trial: optuna.Trial,
    cfg: Config,
    output_dir: Path,
    data: PreparedData,
    first: float,
    effort: Effort,
    stop: Stop | None = None,
) -> float:
    """Train on the further folds, and return the mean score over all folds.

    Parameters
    ----------
    trial
        Gets the scores by fold as its user attribute ``fold_scores``.
    cfg, output_dir, data
        Of the trial; each fold's training has its own directory within.
    first
        The score on the given validation part.
    effort
        Gets the time that the folds take.
    stop
        The conditions under which the search stops.

    Raises
    ------
    optuna.TrialPruned
        If the mean so far is worse than that of the median trial over the same folds.
    DivergenceError
        If the loss diverges on a fold.
    StopRequest
        If a condition of ``stop`` holds. Folds that are done are not trained again.
    """
    shut = updated(cfg, {"evaluation.strict_test": True})
    scores = [first]
    identity = {"trial_number": trial.number, "study_name": trial.study.study_name}
    for number, fold in enumerate(list_score_folds(cfg, data)[1:], 2):
        if cfg.study.pruner != "none" and _is_behind(trial, scores, cfg.study.n_startup_trials):
            reason = f"pruned after fold {number - 1}: worse than the median trial"
            mark_pruned(output_dir, reason)
            raise optuna.TrialPruned(reason)
        directory = output_dir / f"fold_{number}"
        try:
            scores.append(_train(shut, directory, fold, {**identity, "fold": number}, effort, stop))
        except DivergenceError as error:
            mark_pruned(output_dir, str(error))
            raise
        trial.set_user_attr(SCORES, scores)
    return float(np.mean(scores))


def _train(
    cfg: Config,
    directory: Path,
    fold: PreparedData,
    identity: Mapping[str, Any],
    effort: Effort,
    stop: Stop | None,
) -> float:
    """Return the score on one fold, from what is there of it already if possible."""
    earlier = find_in(directory, cfg) if directory.is_dir() else None
    if isinstance(earlier, Ended) and earlier.metrics is not None:
        return float(earlier.metrics["score"])
    if isinstance(earlier, CutShort):
        cfg = earlier.cfg
    create_folders(directory)
    own = Effort()
    try:
        return float(train_trial(cfg, directory, fold, None, identity, own, stop)["score"])
    finally:
        for phase, seconds in own.seconds.items():
            effort.seconds[phase] += seconds


def _is_behind(trial: optuna.Trial, scores: list[float], n_startup_trials: int) -> bool:
    """Return whether the mean of ``scores`` is worse than the median trial's over these folds."""
    others = list(_means_of_others(trial, len(scores)))
    enough = len(others) >= max(1, n_startup_trials)
    return enough and float(np.mean(scores)) > float(np.median(others))


def _means_of_others(trial: optuna.Trial, n_folds: int) -> Iterator[float]:
    """Yield the mean over the first folds of each complete trial that has them."""
    for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        known = other.user_attrs.get(SCORES, [])
        if len(known) >= n_folds:
            yield float(np.mean(known[:n_folds]))
