"""Find out what exists of a trial before it runs: a twin, finished files, or a checkpoint."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError, StudyError
from hpo_utils.training.directory import (
    CHECKPOINT_FILE,
    has_directory,
    read_metrics,
    read_predictions,
    read_trial_info,
)
from hpo_utils.training.record import with_saved_compute
from hpo_utils.trials.storage import FINISHED, enqueued_params, stored_trial

VAL_FOLD = "data_split.val_fold"  # a parameter of trainings that validate in turn
NEEDED = {"score", "best_epoch", "val_targets", "part", "target_units"}  # keys of ``metrics.json``


@dataclass(frozen=True)
class Twin:
    """Another trial with the same parameters that has ended; this one would repeat its training."""

    trial: FrozenTrial


@dataclass(frozen=True)
class Ended:
    """A training that ended, but whose process died before it could tell the study.

    ``info`` is the content of ``trial_info.yaml``; ``metrics`` is the content of ``metrics.json``,
    or None if the trial was pruned.
    """

    output_dir: Path
    info: dict[str, Any]
    metrics: dict[str, Any] | None


@dataclass(frozen=True)
class CutShort:
    """A training that left a checkpoint; ``cfg`` has its original thread count and precision."""

    output_dir: Path
    cfg: Config


def find_earlier(
    trial: optuna.Trial, cfg: Config, root: Path
) -> Twin | Ended | CutShort | Path | None:
    """Return what already exists of a trial, including what a killed process left.

    Parameters
    ----------
    trial
        The trial, with its parameters.
    cfg
        The trial's configuration.
    root
        ``paths.outputs_root``, resolved.

    Returns
    -------
    Twin, Ended, CutShort, Path or None
        A path is a directory that contains nothing usable: the training starts over there. None if
        the trial has no directory.
    """
    twin = find_twin(trial, root)
    if twin is not None:
        return Twin(twin)
    if not has_directory(trial, root):
        return None
    output_dir = root / str(trial.user_attrs["output_dir"])
    return find_in(output_dir, cfg) or output_dir


def find_in(output_dir: Path, cfg: Config) -> Ended | CutShort | None:
    """Return the training that ended or was cut short in a directory; None if there is neither."""
    return _find_end(output_dir) or _find_checkpoint(output_dir, cfg)


def _find_end(output_dir: Path) -> Ended | None:
    """Return how a training ended; None if it has not ended or its files are damaged."""
    info = read_trial_info(output_dir)
    if not {"effort", "seconds", "reason"} <= info.keys():
        return None
    if info.get("state") == "PRUNED":
        return Ended(output_dir, info, None)
    if info.get("state") == "COMPLETE":
        with suppress(StudyError):
            metrics = read_metrics(output_dir)
            for which in ("true", "pred"):  # the figures need both
                read_predictions(output_dir / f"y_{which}.npy")
            if metrics.keys() >= NEEDED:
                return Ended(output_dir, info, metrics)
    return None


def _find_checkpoint(output_dir: Path, cfg: Config) -> CutShort | None:
    """Return the training to resume, if any; delete a checkpoint whose settings are lost."""
    checkpoint = output_dir / CHECKPOINT_FILE
    if not checkpoint.is_file():
        return None
    try:
        return CutShort(output_dir, with_saved_compute(cfg, output_dir))
    except (ConfigError, KeyError):  # its original thread count and precision are unknown
        checkpoint.unlink()
        return None


def find_twin(trial: optuna.Trial, root: Path) -> FrozenTrial | None:
    """Return the first ended trial with the same parameters; ``trial`` would repeat its training.

    Finished trials whose directory below ``root`` is gone do not count. Trials that failed with an
    error of their own count, since the training would fail again, unless ``trial`` was enqueued
    explicitly: then it is tried again.
    """
    asked_for = enqueued_params(stored_trial(trial.study, trial.number)) is not None
    states = FINISHED if asked_for else (*FINISHED, TrialState.FAIL)
    ended = trial.study.get_trials(deepcopy=False, states=states)
    folds = trial.distributions.get(VAL_FOLD)  # fold 1 of 3 holds other samples than fold 1 of 5
    same = (
        other
        for other in ended
        if other.params == trial.params and other.distributions.get(VAL_FOLD) == folds
    )
    return next((other for other in same if _has_outcome(other, root)), None)


def _has_outcome(trial: FrozenTrial, root: Path) -> bool:
    """Return whether an ended trial has an outcome to take over: files, or an error of its own."""
    if trial.state == TrialState.FAIL:
        return "failure" in trial.user_attrs
    return has_directory(trial, root)
