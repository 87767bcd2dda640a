"""A worker: the process that runs trials of a study, one after the other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config
from hpo_utils.data import PreparedData
from hpo_utils.devices import release_memory, select_device
from hpo_utils.errors import StopRequest, StudyError, was_interrupted
from hpo_utils.objective import objective
from hpo_utils.ownership import give_back, is_ours, register
from hpo_utils.paths import resolve
from hpo_utils.search_space import SearchSpace
from hpo_utils.stopping import Stop
from hpo_utils.storage import count_finished, stored_trial


class Tickets(Protocol):
    """A semaphore: one ticket allows one trial, so several workers never run too many."""

    def acquire(self, block: bool = ...) -> bool:
        """Take a ticket; without ``block`` return at once whether there was one."""
        ...

    def release(self) -> None:
        """Give a ticket back."""
        ...


def run_trials(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    tickets: Tickets,
    stop: Stop,
    on_finished: Callable[[FrozenTrial], None],
    queued_only: bool = False,
    name: str | None = None,
) -> None:
    """Run trials in this process, one after the other, as long as there are tickets.

    A trial that is interrupted, by whatever is not its own failure, waits to be continued. ``name``
    is what the team knows this process by.
    """
    owner, device = register(study, name), select_device(cfg.training.device)
    root = resolve(cfg.paths.outputs_root)
    failures = 0
    gc.freeze()  # what is there already need not be searched for garbage after every trial
    try:
        while stop.reason() is None and tickets.acquire(block=False):
            if not queued_only and cfg.study.n_more is None and enough(study, cfg):
                break  # another process is at the same study
            if queued_only and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                break
            trial = study.ask()
            try:
                trial.set_user_attr("owner", owner)
                outcome = run_trial(trial, lambda t: objective(t, cfg, space, data, stop))
                release_memory(device)
                if not is_ours(study, trial, owner):
                    continue  # given up as dead, such as while the machine slept: another's now
                study.tell(trial, *outcome)
            except StopRequest as request:
                give_back(study, trial, root, str(request))
                break
            except (OSError, StorageInternalError) as error:
                with suppress(StorageInternalError):
                    give_back(study, trial, root, str(error))
                raise StudyError(unwritable(error)) from error
            except BaseException:
                give_back(study, trial, root, "interrupted")
                raise
            ended = stored_trial(study, trial.number)
            failures = failures + 1 if ended.state == TrialState.FAIL else 0
            if ended.state == TrialState.FAIL:
                tickets.release()
            on_finished(ended)
            if failures >= cfg.study.max_consecutive_failures:
                raise StudyError(
                    f"the study was stopped because {failures} trials failed in a row, the last"
                    f" with {ended.user_attrs.get('failure')}: see logs/traceback.txt of trial"
                    f" {ended.number} in {ended.user_attrs.get('output_dir')}"
                )
    finally:
        gc.unfreeze()
        release_memory(device)  # of a trial that was interrupted


def enough(study: optuna.Study, cfg: Config) -> bool:
    """Return whether the study has the finished trials that it should have."""
    return count_finished(study) >= cfg.study.n_trials


def run_trial(
    trial: optuna.Trial, objective: Callable[[optuna.Trial], float]
) -> tuple[float | None, TrialState]:
    """Run one trial and return its value and state, as ``Study.tell`` takes them.

    What is no failure of the trial's own is raised: a stop, and a disk that cannot be written to.
    """
    try:
        return objective(trial), TrialState.COMPLETE
    except optuna.TrialPruned:
        return None, TrialState.PRUNED
    except (StopRequest, OSError, StorageInternalError):
        raise
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        trial.set_user_attr("failure", f"{type(error).__name__}: {error}")
        return None, TrialState.FAIL


def unwritable(error: Exception) -> str:
    """Return the sentence on a place that cannot be written to."""
    reason = " ".join(str(error.__cause__ or error).split())
    return (
        f"the study's files and storage must be writable, but there was {reason}: make room or set"
        " the permissions right and run again, every trial goes on from where it was"
    )
