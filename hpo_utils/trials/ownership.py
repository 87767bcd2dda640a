"""Which process runs a trial, and how the trials of a process that died go on."""

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

SAME_START = 2.5  # seconds by which Linux may tell the time of its start differently
UNSIGNED_GRACE = 60.0  # seconds in which a living process must have signed the trial it asked for
# so often may processes die within one epoch of a trial before it is taken for the cause
MAX_DEATHS = 5
MAX_DEATHS_ALONE = 2  # where the other workers live on, so that it was no power cut
NAMESPACE = Path("/proc/self/ns/pid")
WORKER = "worker "  # begins the attributes of a study that name its workers


def current_owner(worker: str | None = None) -> dict[str, Any]:
    """Return what identifies this process, also after its number has been given away again.

    One that is a worker of a team goes by that name as well.
    """
    process = psutil.Process()
    owner = {
        "host": socket.gethostname(), "pid": process.pid, "started": _started(process),
        "namespace": _namespace(),
    }  # fmt: skip
    return owner if worker is None else {**owner, "worker": worker}


def _namespace() -> str | None:
    """Return what tells containers of one machine, or of one host name, apart: both number from 1.

    None where processes have no such name spaces.
    """
    with suppress(OSError):
        return NAMESPACE.readlink().name
    return None


def _is_elsewhere(owner: Mapping[str, Any]) -> bool:
    """Return whether a process is of another machine or container, where it cannot be seen.

    Of an owner that was written by an earlier version the host name alone is known.
    """
    ours = _namespace()
    there = (owner["host"], owner.get("namespace", ours))
    return there != (socket.gethostname(), ours)


def _started(process: psutil.Process) -> float:
    """Return when a process started, in seconds since its machine did.

    Not since the epoch: where a clock is set, as after a machine slept, all processes would seem to
    have started at another time.
    """
    return float(process.create_time() - psutil.boot_time())


def register(study: optuna.Study, worker: str | None = None) -> dict[str, Any]:
    """Have the study know that this process may run trials of it, and return its owner."""
    owner = current_owner(worker)
    place = f"{owner['host']} {owner['namespace'] or ''}".strip()
    study.set_user_attr(f"{WORKER}{place} {owner['pid']}", owner)
    return owner


def owner_is_alive(owner: Mapping[str, Any]) -> bool:
    """Return whether the process may still be at work; one that cannot be seen always may."""
    if _is_elsewhere(owner):
        return True
    try:
        started = _started(psutil.Process(owner["pid"]))
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - owner["started"]) < SAME_START)


def sign(trial: optuna.Trial, owner: Mapping[str, Any]) -> dict[str, Any]:
    """Write down that ``owner`` runs the trial from now on, and return what was written."""
    signed = {**owner, "since": time.time()}
    trial.set_user_attr("owner", signed)
    return signed


def recover_interrupted(
    study: optuna.Study, outputs_root: Path, silent_after_s: float
) -> list[int]:
    """Have the trials that nobody runs any more wait to be continued; return their numbers.

    The next worker takes one of them before the sampler suggests another, and goes on from its
    checkpoint. Trials of a living process are never touched. One whose processes die again and
    again within the same epoch fails: it may be what kills them, such as by the memory it takes.

    Parameters
    ----------
    study
        Its trials are looked at.
    outputs_root
        Where their directories are; ``trial_info.yaml`` is brought to the truth as well.
    silent_after_s
        A trial of another machine, whose processes cannot be seen, is given up when its log has not
        grown for so many seconds.
    """
    recovered = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(study, trial, outputs_root, silent_after_s):
            recovered += _note_death(study, trial, outputs_root, MAX_DEATHS)
    return recovered


def recover_from(study: optuna.Study, worker: str, outputs_root: Path) -> list[int]:
    """Do the same with what a worker ran that died while others live on; return the numbers."""
    recovered = []
    for trial in _run_by_worker(study, worker):
        recovered += _note_death(study, trial, outputs_root, MAX_DEATHS_ALONE)
    return recovered


def give_back_from(study: optuna.Study, worker: str, outputs_root: Path) -> None:
    """Give back what a worker ran that was ended on purpose, which counts as no death."""
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
    """Put a trial that ``owner`` runs back among those that wait, with what it has."""
    if not is_run_by(study, trial, owner):
        return
    with suppress(UpdateFinishedTrialError):  # it had just been told
        # who asks for it next is alive, but has not signed it at once
        study._storage.set_trial_user_attr(trial._trial_id, "owner", {})
        # Optuna has no public way to do that; a trial that waits keeps its parameters and values
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    if "output_dir" in trial.user_attrs:
        correct_state(outputs_root / trial.user_attrs["output_dir"], "WAITING", reason)


def is_run_by(
    study: optuna.Study, trial: FrozenTrial | optuna.Trial, owner: Mapping[str, Any]
) -> bool:
    """Return whether ``owner`` still runs a trial; of one that nobody has signed it is empty.

    The trial may have been given up as dead meanwhile, and may be another's now.
    """
    stored = stored_trial(study, trial.number)
    return stored.state == TrialState.RUNNING and stored.user_attrs.get("owner", {}) == owner


def _note_death(
    study: optuna.Study, trial: FrozenTrial, outputs_root: Path, most: int
) -> list[int]:
    """Give a trial back whose process died, or have it fail if that happened too often.

    Returns
    -------
    list of int
        Its number; nothing if another process was faster, or it has ended.
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
    """Return whether nobody runs the trial any more."""
    owner, ours = trial.user_attrs.get("owner"), current_owner()
    silent = time.time() - _last_sign(trial, outputs_root)
    if not owner:
        # asked for, but not yet signed: a living worker may be between the two
        workers = [value for key, value in study.user_attrs.items() if key.startswith(WORKER)]
        living = any(owner_is_alive(worker) for worker in workers if worker != ours)
        return not living or silent > UNSIGNED_GRACE
    if _is_elsewhere(owner):
        return silent > silent_after_s
    if owner["pid"] == ours["pid"]:
        return True  # a process that looks for trials runs none
    return not owner_is_alive(owner)


def _last_sign(trial: FrozenTrial, outputs_root: Path) -> float:
    """Return when a trial last showed that somebody runs it, in seconds since the epoch.

    When it was asked for says Optuna in the time zone of the machine that asked, which may not be
    ours; so that counts only until it is signed.
    """
    asked = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
    started = float(trial.user_attrs.get("owner", {}).get("since", asked))
    log = outputs_root / trial.user_attrs.get("output_dir", "") / TRAIN_LOG
    return max(started, log.stat().st_mtime) if log.is_file() else started
