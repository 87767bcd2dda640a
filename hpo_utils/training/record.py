"""The record of a trial on disk: its configuration, log, state and outcome."""

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
from optuna.exceptions import UpdateFinishedTrialError

from hpo_utils.base.config import Config, as_dict, read_saved_settings, updated
from hpo_utils.base.errors import DivergenceError, StopRequest
from hpo_utils.base.interrupts import outages, was_interrupted
from hpo_utils.base.paths import (
    project_root,
    write_json,
    write_yaml,
)
from hpo_utils.training.directory import CHECKPOINT_FILE, TRAIN_LOG, read_trial_info
from hpo_utils.training.timing import Effort

LEFT_OPEN = {"n_threads": None, "precision": "auto"}  # settings that a training may choose itself
PACKAGES = ("hpo_utils", "optuna", "torch", "numpy", "omegaconf")


@dataclass
class TrialRecord:
    """Context manager that keeps a trial's ``config.yaml``, ``trial_info.yaml`` and log correct.

    On entry the trial is recorded as RUNNING; on exit with its true final state, including the
    reason and traceback of a failure. An interrupted trial keeps its checkpoint and waits to be
    resumed. If another process took this one for dead and finished the trial, its files are left
    untouched. ``restarts`` lists the number of epochs done at each resumption; ``pieces`` is the
    number of pieces into which a batch was cut to fit into memory.
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
        """Record that the training resumes from a checkpoint after ``epoch`` epochs."""
        self.restarts.append(epoch)
        self._log(f"going on after epoch {epoch}")
        self._write_info("RUNNING")

    def log_epoch(self, epoch: int, train_loss: float, val_loss: float, score: float) -> None:
        """Record the outcome of an epoch (counted from 1)."""
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
            return  # another process took over and finished the trial: the files are its own
        if error is None:
            self._write_info("COMPLETE")
        elif isinstance(error, Exception) and not (
            isinstance(error, (StopRequest, *outages())) or was_interrupted(error)
        ):
            self._write_failure(error, trace)
        else:  # an interrupt, a full disk, a lost database: the training can resume
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


def with_saved_compute(cfg: Config, output_dir: Path) -> Config:
    """Return ``cfg`` with open settings as chosen by the training that began in ``output_dir``.

    These are the thread count and the precision: other values would give other results from here
    on.
    """
    saved = read_saved_settings(output_dir)["training"]
    chosen = {
        f"training.{key}": saved[key]
        for key, left_open in LEFT_OPEN.items()
        if getattr(cfg.training, key) == left_open
    }
    return updated(cfg, chosen) if chosen else cfg


def finite(history: dict[str, list[float]]) -> dict[str, list[float | None]]:
    """Return the history with None in place of NaN and infinity, for JSON."""
    return {
        name: [value if np.isfinite(value) else None for value in values]
        for name, values in history.items()
    }


@lru_cache
def environment() -> dict[str, Any]:
    """Return the machine, versions and code revision, for files that record their origin."""
    return {
        "machine": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Return the project's commit, with '+' if files differ from it; None without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=project_root(), capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
