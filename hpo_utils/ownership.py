"""Which process runs a trial, and what becomes of the trials of a process that died."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState


def recover_interrupted(study: optuna.Study) -> list[int]:
    """Fail the trials that a dead process of this machine left running; return their numbers.

    A trial that runs for ever would count as running when the sampler looks for new places.
    """
    recovered = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get("owner")
        if owner is None or not owner_is_alive(owner):
            study.tell(trial.number, state=TrialState.FAIL)
            recovered.append(trial.number)
    return recovered


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
