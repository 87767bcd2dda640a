"""The directory of one trial: made, recorded while it runs, filled at the end, found again."""

from __future__ import annotations

import platform
import socket
import subprocess
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from torch import Tensor

from hpo_utils.checkpoints import CHECKPOINT_FILE
from hpo_utils.config import Config, as_dict, read_saved_settings, updated
from hpo_utils.data import PreparedData
from hpo_utils.errors import DivergenceError, StopRequest, StudyError
from hpo_utils.interrupts import outages, was_interrupted
from hpo_utils.metrics import standardized_errors, target_metrics
from hpo_utils.paths import (
    new_directory,
    project_root,
    read_mapping,
    resolve,
    write_json,
    write_npy,
    write_with,
    write_yaml,
)
from hpo_utils.plots import plot_learning_curves, plot_prediction_vs_truth, save_figure
from hpo_utils.timing import Effort

TRAIN_LOG = Path("logs") / "train.log"
VAL_FILE = Path("val_pred.npy")
WEIGHTS_FILE = Path("weights") / "model_simplecnn_real.pth"  # so named by the specification
CURVES_FILE = Path("learning_curves.png")
SCATTER_FILE = Path("evaluation_plots") / "prediction_vs_truth.png"
LEFT_OPEN = {"n_threads": None, "precision": "auto"}  # what a training chooses, then writes down
PACKAGES = ("hpo_utils", "optuna", "torch", "numpy", "omegaconf")


@dataclass
class TrialResult:
    """What one finished training leaves.

    ``truth`` and ``predictions`` hold, for ``val`` and unless it stays shut for ``test``, arrays of
    shape (n_samples, n_targets) in the targets' units; ``score`` is that of the validation part at
    ``best_epoch`` (counted from 1), whose weights are kept.
    """

    score: float
    score_name: str
    best_epoch: int
    state_dict: dict[str, Tensor]
    truth: dict[str, NDArray[np.float32]]
    predictions: dict[str, NDArray[np.float32]]
    n_parameters: int


@dataclass
class TrialRecord:
    """Context that keeps a trial's ``config.yaml``, ``trial_info.yaml`` and log true.

    On entry the trial is written down as RUNNING; on exit with its true final state, the reason and
    traceback of a failure included. One that was interrupted waits, with its checkpoint, to go on.
    One that another process has finished, while this one was taken for dead, is left as it is.
    ``restarts`` has, for each time it did, the epochs that were done; ``pieces`` says into how many
    a batch was cut to fit into the memory.
    """

    output_dir: Path
    cfg: Config
    identity: Mapping[str, Any]
    effort: Effort
    score: float | None = None
    restarts: list[int] = field(default_factory=list)
    pieces: int = 1
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"train_losses": [], "val_losses": [], "scores": []}
    )

    def __enter__(self) -> Self:
        before = read_trial_info(self.output_dir)
        now = datetime.now().isoformat(timespec="seconds")
        self._started = before.get("started", now)
        self.restarts = [*(before.get("restarts") or [])]
        with self.effort.spend("files"):
            write_yaml(self.output_dir / "config.yaml", as_dict(self.cfg))
            self._write_info("RUNNING")
        return self

    def go_on(self, epoch: int) -> None:
        """Note that the training goes on from a checkpoint after ``epoch`` epochs."""
        self.restarts.append(epoch)
        self._log(f"going on after epoch {epoch}")
        self._write_info("RUNNING")

    def log_epoch(self, epoch: int, train_loss: float, val_loss: float, score: float) -> None:
        """Note the outcome of an epoch (counted from 1)."""
        values = (train_loss, val_loss, score)
        for series, value in zip(self.history.values(), values, strict=True):
            series.append(value)
        self._log(
            f"epoch {epoch}/{self.cfg.training.epochs}"
            f" train_loss {train_loss:.5g} val_loss {val_loss:.5g} score {score:.5g}"
        )

    def _log(self, line: str) -> None:
        with (self.output_dir / TRAIN_LOG).open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now():%H:%M:%S} {line}\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, UpdateFinishedTrialError):
            return  # another process took the trial over and finished it: these are its files
        if error is None:
            self._write_info("COMPLETE")
        elif isinstance(error, Exception) and not (
            isinstance(error, (StopRequest, *outages())) or was_interrupted(error)
        ):
            self._write_failure(error, trace)
        else:  # an interrupt, a disk that is full, a database that is gone: the training can go on
            reason = f"{type(error).__name__}: {error}"
            if was_interrupted(error):
                reason = "interrupted"
            with suppress(OSError):
                self._write_info("WAITING", reason.rstrip(": "))
            return
        (self.output_dir / CHECKPOINT_FILE).unlink(missing_ok=True)

    def _write_failure(self, error: Exception, trace: TracebackType | None) -> None:
        write_json(self.output_dir / "metrics.json", {"score": None, **finite(self.history)})
        if isinstance(error, optuna.TrialPruned | DivergenceError):
            self._write_info("PRUNED", str(error))
            return
        text = "".join(traceback.format_exception(type(error), error, trace))
        (self.output_dir / "logs" / "traceback.txt").write_text(text, encoding="utf-8")
        self._write_info("FAIL", f"{type(error).__name__}: {error}")

    def _write_info(self, state: str, reason: str | None = None) -> None:
        write_yaml(
            self.output_dir / "trial_info.yaml",
            {
                **self.identity,
                "state": state,
                "reason": reason,
                "score": self.score,
                "started": self._started,
                "seconds": round(sum(self.effort.seconds.values()), 3),
                "restarts": self.restarts,
                "pieces": self.pieces,
                "epochs_done": len(self.history["scores"]),
                "effort": self.effort.summary(),
                "made_with": environment(),
            },
        )


def create_trial_output_dir(outputs_root: str | Path) -> Path:
    """Create ``<outputs_root>/YYYY-MM-DD/HH-MM-SS/`` with its folders and return it.

    A second trial in the same second gets ``HH-MM-SS-1``, and so on.
    """
    now = datetime.now()
    day = resolve(outputs_root) / f"{now:%Y-%m-%d}"
    directory = new_directory(day / f"{now:%H-%M-%S}")
    for folder in ("logs", "weights", "evaluation_plots"):
        (directory / folder).mkdir()
    return directory


def as_begun(cfg: Config, output_dir: Path) -> Config:
    """Return the configuration with what the training that began here has chosen by itself.

    Another number of threads, or another precision, would give other numbers from here on.
    """
    saved = read_saved_settings(output_dir)["training"]
    chosen = {
        f"training.{key}": saved[key]
        for key, left_open in LEFT_OPEN.items()
        if getattr(cfg.training, key) == left_open
    }
    return updated(cfg, chosen) if chosen else cfg


def save_trial_results(
    output_dir: Path, result: TrialResult, history: dict[str, list[float]], data: PreparedData
) -> dict[str, Any]:
    """Write weights, metrics, predictions and figures of a finished training.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    write_with(output_dir / WEIGHTS_FILE, lambda file: torch.save(result.state_dict, file))
    part = "test" if "test" in result.predictions else "val"
    y_true, y_pred = result.truth[part], result.predictions[part]
    write_npy(output_dir / "y_true.npy", y_true)
    write_npy(output_dir / "y_pred.npy", y_pred)
    write_npy(output_dir / VAL_FILE, result.predictions["val"])
    names, units = data.target_names, data.target_units
    errors = {
        part: target_metrics(result.truth[part], result.predictions[part], names)
        for part in result.predictions
    }
    test = standardized_errors(y_true, y_pred, data.target_scaler) if part == "test" else {}
    metrics = {
        "score": result.score,
        "score_name": result.score_name,
        "best_epoch": result.best_epoch,
        "val_loss": history["val_losses"][result.best_epoch - 1],
        "val_targets": errors["val"],
        "test_mse": test.get("mse"),
        "test_mae": test.get("mae"),
        "test_targets": errors.get("test"),
        "part": part,  # of y_true, y_pred and the figures
        "target_units": dict(zip(names, units, strict=True)),
        "n_parameters": result.n_parameters,
        **history,
    }
    write_json(output_dir / "metrics.json", metrics)
    curves = plot_learning_curves(history, result.best_epoch)
    save_figure(output_dir / CURVES_FILE, curves)
    scatter = plot_prediction_vs_truth(y_true, y_pred, names, units, errors[part])
    save_figure(output_dir / SCATTER_FILE, scatter)
    return metrics


def find_trial_output_dir(study: optuna.Study, trial_number: int, outputs_root: str | Path) -> Path:
    """Return the directory of a trial, as the study remembers it.

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


def has_directory(trial: FrozenTrial, outputs_root: Path) -> bool:
    """Return whether a trial's files are still there."""
    remembered = trial.user_attrs.get("output_dir")
    return remembered is not None and (outputs_root / str(remembered)).is_dir()


def read_trial_info(output_dir: Path) -> dict[str, Any]:
    """Return ``trial_info.yaml``, empty if there is none yet, or none that can be read."""
    return read_mapping(output_dir / "trial_info.yaml") or {}


def read_metrics(output_dir: Path) -> dict[str, Any]:
    """Return ``metrics.json`` of a finished training.

    Raises
    ------
    StudyError
        If it cannot be read.
    """
    metrics = read_mapping(output_dir / "metrics.json")
    if metrics is None:
        raise damaged(output_dir / "metrics.json")
    return metrics


def read_predictions(file: Path) -> NDArray[np.float32]:
    """Return predictions or truth, of shape (n_samples, n_targets), that a training wrote.

    Raises
    ------
    StudyError
        If they cannot be read.
    """
    try:
        found: NDArray[np.float32] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        raise damaged(file) from None
    if found.ndim != 2 or found.dtype != np.float32:
        raise damaged(file)
    return found


def damaged(file: Path) -> StudyError:
    """Return the sentence on a file of a training that cannot be read."""
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


def finite(history: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """Return the history with None in place of NaN and infinity, for JSON."""
    return {
        name: [value if np.isfinite(value) else None for value in values]
        for name, values in history.items()
    }


@lru_cache
def environment() -> dict[str, Any]:
    """Return machine, versions and code revision, for files that must say what made them."""
    return {
        "machine": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Return the commit of the project, with '+' if files differ from it; None without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=project_root(), capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
