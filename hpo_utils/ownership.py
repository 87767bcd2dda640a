"""Which process runs a trial, and what becomes of the trials of a process that died."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.trial_files import mark_dead

UNSIGNED_GRACE = 60.0  # seconds in which a process must have signed the trial it asked for


def recover_interrupted(study: optuna.Study, outputs_root: Path) -> list[int]:
    """Fail the trials that a dead process of this machine left running; return their numbers.

    A trial that runs for ever would count as running when the sampler looks for new places. Its
    ``trial_info.yaml`` below ``outputs_root`` is brought to the truth as well.
    """
    recovered = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_abandoned(trial):
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        recovered.append(trial.number)
        if "output_dir" in trial.user_attrs:
            mark_dead(outputs_root / trial.user_attrs["output_dir"])
    return recovered


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Return whether nobody runs the trial any more."""
    owner = trial.user_attrs.get("owner")
    if owner is not None:
        return not owner_is_alive(owner)
    # asked for, but not yet signed: its process may be between the two
    age = datetime.now() - (trial.datetime_start or datetime.min)
    return age.total_seconds() > UNSIGNED_GRACE


def current_owner() -> dict[str, Any]:
    """Return what identifies this process, also after its number has been given away again."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
    }


def owner_is_alive(owner: Mapping[str, Any]) -> bool:
    """Return whether the process may still be at work; one of another machine always may."""
    if owner["host"] != socket.gethostname():
        return True
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - owner["started"]) < 1.0)
