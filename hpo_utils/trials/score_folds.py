"""A trial's score as the mean over several folds, where one validation part says too little.

The given validation part is the first fold. Each further one takes as many samples out of the
training part, and the given validation part trains in their place. Folds are trained one after the
other, so that a trial can be pruned between two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import DivergenceError
from hpo_utils.data.prepared import PreparedData
from hpo_utils.training.directory import create_folders, mark_pruned
from hpo_utils.training.stopping import Stop
from hpo_utils.training.timing import Effort
from hpo_utils.training.train import train_trial
from hpo_utils.trials.earlier import CutShort, Ended, find_in

SCORES = "fold_scores"  # user attribute of a trial


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

    With a ``data_split.val_fold`` of its own, a trial is judged on that fold alone.

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
    if cfg.data_split.val_fold is not None:
        return first
    scores = [first]
    identity = {"trial_number": trial.number, "study_name": trial.study.study_name}
    for number, fold in enumerate(data.val_folds(cfg)[1:], 1):
        if cfg.study.pruner != "none" and _is_behind(trial, scores, cfg.study.n_startup_trials):
            reason = f"pruned after {number} folds: worse than the median trial"
            mark_pruned(output_dir, reason)
            raise optuna.TrialPruned(reason)
        own = updated(cfg, {"evaluation.strict_test": True, "data_split.val_fold": number})
        try:
            scores.append(_train(own, output_dir / f"fold_{number}", fold, identity, effort, stop))
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
