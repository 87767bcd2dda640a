"""Ownership of trials: record which process runs each, and requeue those of dead processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.training.directory import TRAIN_LOG, correct_state
from hpo_utils.trials.storage import stored_trial

SAME_START = 2.5  # seconds by which the boot time that Linux reports may vary
UNSIGNED_GRACE = 60.0  # seconds within which a living process must claim the trial it asked for
# a trial fails after this many deaths within one epoch, since it is probably the cause
MAX_DEATHS = 5
MAX_DEATHS_ALONE = 2  # the same while other workers keep running, which rules out a power cut
NAMESPACE = Path("/proc/self/ns/pid")
WORKER = "worker "  # prefix of the study attributes that name its workers


def current_owner(worker: str | None = None) -> dict[str, Any]:
    """Return what identifies this process, even after its process ID is reused.

    For a worker of a team this includes the worker's name.
    """
    process = psutil.Process()
    owner = {
        "host": socket.gethostname(), "pid": process.pid, "started": _started(process),
        "namespace": _namespace(),
    }  # fmt: skip
    return owner if worker is None else {**owner, "worker": worker}


def _namespace() -> str | None:
    """Return the PID namespace, which tells apart containers on one machine or host name.

    Each container numbers its processes from 1. None on systems without PID namespaces.
    """
    with suppress(OSError):
        return NAMESPACE.readlink().name
    return None


def _is_elsewhere(owner: Mapping[str, Any]) -> bool:
    """Return whether a process runs on another machine or container, where it cannot be seen.

    For an owner that an earlier version wrote, only the host name is known.
    """
    ours = _namespace()
    there = (owner["host"], owner.get("namespace", ours))
    return there != (socket.gethostname(), ours)


def _started(process: psutil.Process) -> float:
    """Return when a process started, in seconds since its machine booted.

    Seconds since the epoch would not do: when the clock is set, for example after the machine
    slept, all processes would seem to have started at another time.
    """
    return float(process.create_time() - psutil.boot_time())


def register_worker(study: optuna.Study, worker: str | None = None) -> dict[str, Any]:
    """Record in the study that this process may run its trials; return this process as owner."""
    owner = current_owner(worker)
    place = f"{owner['host']} {owner['namespace'] or ''}".strip()
    study.set_user_attr(f"{WORKER}{place} {owner['pid']}", owner)
    return owner


def owner_is_alive(owner: Mapping[str, Any]) -> bool:
    """Return whether the process may still be running; always true if it cannot be seen."""
    if _is_elsewhere(owner):
        return True
    try:
        started = _started(psutil.Process(owner["pid"]))
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - owner["started"]) < SAME_START)


def claim(trial: optuna.Trial, owner: Mapping[str, Any]) -> dict[str, Any]:
    """Record that ``owner`` runs the trial from now on, and return what was recorded."""
    signed = {**owner, "since": time.time()}
    trial.set_user_attr("owner", signed)
    return signed


def recover_interrupted(
    study: optuna.Study, outputs_root: Path, silent_after_s: float
) -> list[int]:
    """Requeue the trials that no process runs any more; return their numbers.

    The next worker takes a requeued trial before the sampler suggests another, and resumes it from
    its checkpoint. Trials of a living process are never touched. A trial whose processes die again
    and again within the same epoch fails: it may be what kills them, for example by using too much
    memory.

    Parameters
    ----------
    study
        The study whose trials are checked.
    outputs_root
        The folder of the trials' directories, in which ``trial_info.yaml`` is corrected as well.
    silent_after_s
        A trial on another machine, whose processes cannot be seen, counts as abandoned when its log
        has not grown for this many seconds.
    """
    recovered = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(study, trial, outputs_root, silent_after_s):
            recovered += _note_death(study, trial, outputs_root, MAX_DEATHS)
    return recovered


def recover_from(study: optuna.Study, worker: str, outputs_root: Path) -> list[int]:
    """Requeue the trials of a dead worker while others keep running; return their numbers."""
    recovered = []
    for trial in _run_by_worker(study, worker):
        recovered += _note_death(study, trial, outputs_root, MAX_DEATHS_ALONE)
    return recovered


def give_back_from(study: optuna.Study, worker: str, outputs_root: Path) -> None:
    """Requeue the trials of a worker that was ended on purpose; this does not count as a death."""
    for trial in _run_by_worker(study, worker):
        give_back(study, trial, trial.user_attrs["owner"], outputs_root, "interrupted")


def _run_by_worker(study: optuna.Study, worker: str) -> list[FrozenTrial]:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if trial.user_attrs.get("owner", {}).get("worker") == worker]


def give_back(
    study: optuna.Study,
    trial: FrozenTrial | optuna.Trial,
    owner: Mapping[str, Any],
    outputs_root: Path,
    reason: str,
) -> None:
    """Requeue a trial that ``owner`` runs, with its parameters and reported values."""
    if not is_run_by(study, trial, owner):
        return
    with suppress(UpdateFinishedTrialError):  # its result has just been told
        # clear the owner: the process that takes the trial next signs it only a moment later
        study._storage.set_trial_user_attr(trial._trial_id, "owner", {})
        # Optuna has no public call for this; a waiting trial keeps its parameters and values
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    if "output_dir" in trial.user_attrs:
        correct_state(outputs_root / trial.user_attrs["output_dir"], "WAITING", reason)


def is_run_by(
    study: optuna.Study, trial: FrozenTrial | optuna.Trial, owner: Mapping[str, Any]
) -> bool:
    """Return whether ``owner`` still runs a trial; the owner of an unsigned trial is empty.

    The trial may have been given up as dead meanwhile, and may now belong to another process.
    """
    stored = stored_trial(study, trial.number)
    return stored.state == TrialState.RUNNING and stored.user_attrs.get("owner", {}) == owner


def _note_death(
    study: optuna.Study, trial: FrozenTrial, outputs_root: Path, most: int
) -> list[int]:
    """Requeue a trial whose process died, or let it fail if that happened too often.

    Returns
    -------
    list of int
        The trial's number; empty if another process was faster, or the trial has ended.
    """
    owner = trial.user_attrs.get("owner", {})
    if not is_run_by(study, trial, owner):
        return []
    epochs = len(trial.intermediate_values)
    before, times = trial.user_attrs.get("died", (epochs, 0))
    times = times + 1 if before == epochs else 1
    with suppress(UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(trial._trial_id, "died", (epochs, times))
    if times < most:
        give_back(study, trial, owner, outputs_root, "its process died")
        return [trial.number]
    failure = f"its process died {times} times in one epoch, perhaps for want of memory"
    study._storage.set_trial_user_attr(trial._trial_id, "failure", failure)
    study.tell(trial.number, state=TrialState.FAIL)
    correct_state(outputs_root / trial.user_attrs.get("output_dir", ""), "FAIL", failure)
    return [trial.number]


def _is_abandoned(
    study: optuna.Study, trial: FrozenTrial, outputs_root: Path, silent_after_s: float
) -> bool:
    """Return whether no process runs the trial any more."""
    owner, ours = trial.user_attrs.get("owner"), current_owner()
    silent = time.time() - _last_sign(trial, outputs_root)
    if not owner:
        # not signed yet: a living worker may be between asking for the trial and signing it
        workers = [value for key, value in study.user_attrs.items() if key.startswith(WORKER)]
        living = any(owner_is_alive(worker) for worker in workers if worker != ours)
        return not living or silent > UNSIGNED_GRACE
    if _is_elsewhere(owner):
        return silent > silent_after_s
    if owner["pid"] == ours["pid"]:
        return True  # a process that looks for abandoned trials runs none itself
    return not owner_is_alive(owner)


def _last_sign(trial: FrozenTrial, outputs_root: Path) -> float:
    """Return when a trial last showed that a process runs it, in seconds since the epoch.

    Optuna stores when the trial was asked for in the time zone of the asking machine, which may not
    be ours; so that time counts only until the trial is signed.
    """
    asked = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
    started = float(trial.user_attrs.get("owner", {}).get("since", asked))
    directory = outputs_root / trial.user_attrs.get("output_dir", "")
    logs = (directory / TRAIN_LOG, *directory.glob(f"fold_*/{TRAIN_LOG}"))
    signs: list[float] = [log.stat().st_mtime for log in logs if log.is_file()]
    return max([started, *signs])
