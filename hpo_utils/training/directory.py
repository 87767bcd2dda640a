"""The directory of one trial: create it, find it again, and name and read its files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpo_utils.base.errors import StudyError
from hpo_utils.base.paths import (
    new_directory,
    read_mapping,
    resolve,
    write_yaml,
)

TRAIN_LOG = Path("logs") / "train.log"
VAL_FILE = Path("val_pred.npy")
SCATTER_FILE = Path("evaluation_plots") / "prediction_vs_truth.png"
WEIGHTS_FILE = Path("weights") / "model_simplecnn_real.pth"  # the specification sets this name


def create_trial_output_dir(outputs_root: str | Path) -> Path:
    """Create ``<outputs_root>/YYYY-MM-DD/HH-MM-SS/`` with its folders and return it.

    A second trial in the same second gets ``HH-MM-SS-1``, and so on.
    """
    now = datetime.now()
    day = resolve(outputs_root) / f"{now:%Y-%m-%d}"
    directory = new_directory(day / f"{now:%H-%M-%S}")
    create_folders(directory)
    return directory


def create_folders(directory: Path) -> None:
    """Create the folders of a training's directory that are missing."""
    for folder in ("logs", "weights", "evaluation_plots"):
        (directory / folder).mkdir(parents=True, exist_ok=True)


def find_trial_output_dir(study: optuna.Study, trial_number: int, outputs_root: str | Path) -> Path:
    """Return the directory of a trial, as recorded in the study.

    Raises
    ------
    StudyError
        If the study has no such trial, or its directory is gone.
    """
    trials = study.get_trials(deepcopy=False)
    if not 0 <= trial_number < len(trials):
        raise StudyError(
            f"trial_number must lie between 0 and {len(trials) - 1}, the trials of study"
            f" {study.study_name!r}, got {trial_number}"
        )
    remembered = trials[trial_number].user_attrs.get("output_dir")
    directory = resolve(outputs_root) / str(remembered)
    if remembered is None or not directory.is_dir():
        raise StudyError(
            f"trial {trial_number} of study {study.study_name!r} must have its directory, but"
            f" {directory} does not exist: choose another trial or run the study again"
        )
    return directory


def has_directory(trial: FrozenTrial | optuna.Trial, outputs_root: Path) -> bool:
    """Return whether a trial's directory still exists."""
    remembered = trial.user_attrs.get("output_dir")
    return remembered is not None and (outputs_root / str(remembered)).is_dir()


def read_trial_info(output_dir: Path) -> dict[str, Any]:
    """Return the content of ``trial_info.yaml``; empty if the file is missing or unreadable."""
    return read_mapping(output_dir / "trial_info.yaml") or {}


def read_metrics(output_dir: Path) -> dict[str, Any]:
    """Return the content of ``metrics.json`` of a finished training.

    Raises
    ------
    StudyError
        If the file cannot be read.
    """
    metrics = read_mapping(output_dir / "metrics.json")
    if metrics is None:
        raise damaged(output_dir / "metrics.json")
    return metrics


def read_predictions(file: Path) -> NDArray[np.float32]:
    """Return saved predictions or true values, of shape (n_samples, n_targets), in float32.

    Raises
    ------
    StudyError
        If the file cannot be read or holds another kind of array.
    """
    try:
        found: NDArray[np.float32] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        raise damaged(file) from None
    if found.ndim != 2 or found.dtype != np.float32:
        raise damaged(file)
    return found


def damaged(file: Path) -> StudyError:
    """Return the error for a file of a training that cannot be read."""
    return StudyError(
        f"the files of a training must be whole, but {file} is missing or damaged: delete the"
        " folder of the training and run notebooks/03_optimize.ipynb again, which trains it anew"
    )


def correct_state(output_dir: Path, state: str, reason: str) -> None:
    """Correct the state in ``trial_info.yaml`` of a trial whose process is gone."""
    info = read_trial_info(output_dir)
    if info.get("state") in ("RUNNING", "WAITING"):
        write_yaml(output_dir / "trial_info.yaml", {**info, "state": state, "reason": reason})
        if state != "WAITING":
            (output_dir / CHECKPOINT_FILE).unlink(missing_ok=True)


def mark_pruned(output_dir: Path, reason: str) -> None:
    """Record in ``trial_info.yaml`` that a trial was pruned after its training had ended."""
    info = {**read_trial_info(output_dir), "state": "PRUNED", "reason": reason}
    write_yaml(output_dir / "trial_info.yaml", info)


CHECKPOINT_FILE = Path("checkpoint.pt")
