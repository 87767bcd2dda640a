"""What is there of a trial already: nothing, a training cut short, its end, or a twin."""

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
from hpo_utils.training.record import as_begun
from hpo_utils.trials.storage import FINISHED, enqueued_params, stored_trial

NEEDED = {"score", "best_epoch", "val_targets", "part", "target_units"}  # of ``metrics.json``


@dataclass(frozen=True)
class Twin:
    """Another trial with the same parameters has ended: this one would be the same training."""

    trial: FrozenTrial


@dataclass(frozen=True)
class Ended:
    """The training ended, but its process died before it could tell the study.

    ``info`` is the content of ``trial_info.yaml``, ``metrics`` that of ``metrics.json``: None if
    the trial was pruned.
    """

    output_dir: Path
    info: dict[str, Any]
    metrics: dict[str, Any] | None


@dataclass(frozen=True)
class CutShort:
    """The training left a checkpoint; ``cfg`` has the threads and the precision it began with."""

    output_dir: Path
    cfg: Config


def find_earlier(
    trial: optuna.Trial, cfg: Config, root: Path
) -> Twin | Ended | CutShort | Path | None:
    """Return what is there of a trial already, whatever a killed process has left.

    Parameters
    ----------
    trial
        The trial, with its parameters.
    cfg
        Its configuration.
    root
        ``paths.outputs_root``, resolved.

    Returns
    -------
    Twin, Ended, CutShort, Path or None
        A directory alone is one in which nothing useful was left: the training begins anew there.
        None if the trial has no directory.
    """
    twin = find_twin(trial, root)
    if twin is not None:
        return Twin(twin)
    if not has_directory(trial, root):
        return None
    output_dir = root / str(trial.user_attrs["output_dir"])
    return _find_end(output_dir) or _find_checkpoint(output_dir, cfg) or output_dir


def _find_end(output_dir: Path) -> Ended | None:
    """Return how a training ended; None if it has not, or its files are damaged."""
    info = read_trial_info(output_dir)
    if not {"effort", "seconds", "reason"} <= info.keys():
        return None
    if info.get("state") == "PRUNED":
        return Ended(output_dir, info, None)
    if info.get("state") == "COMPLETE":
        with suppress(StudyError):
            metrics = read_metrics(output_dir)
            for which in ("true", "pred"):  # of which the figures are drawn
                read_predictions(output_dir / f"y_{which}.npy")
            if metrics.keys() >= NEEDED:
                return Ended(output_dir, info, metrics)
    return None


def _find_checkpoint(output_dir: Path, cfg: Config) -> CutShort | None:
    """Return the training to go on with; None, and no checkpoint, if its settings are lost."""
    checkpoint = output_dir / CHECKPOINT_FILE
    if not checkpoint.is_file():
        return None
    try:
        return CutShort(output_dir, as_begun(cfg, output_dir))
    except (ConfigError, KeyError):  # the threads and the precision it began with are unknown
        checkpoint.unlink()
        return None


def find_twin(trial: optuna.Trial, root: Path) -> FrozenTrial | None:
    """Return the first trial with the same parameters that ended: it would be the same training.

    One whose directory below ``root`` is gone does not count. One that failed by an error of its
    own does; it would fail again. Not so if the trial was asked for by name: then it is to be tried
    again.
    """
    asked_for = enqueued_params(stored_trial(trial.study, trial.number)) is not None
    states = FINISHED if asked_for else (*FINISHED, TrialState.FAIL)
    ended = trial.study.get_trials(deepcopy=False, states=states)
    same = (other for other in ended if other.params == trial.params)
    return next((other for other in same if _has_outcome(other, root)), None)


def _has_outcome(trial: FrozenTrial, root: Path) -> bool:
    """Return whether a trial that ended has something to take over: its files, or its own error."""
    if trial.state == TrialState.FAIL:
        return "failure" in trial.user_attrs
    return has_directory(trial, root)
