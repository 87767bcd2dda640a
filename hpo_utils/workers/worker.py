"""A worker: the process that runs trials of a study, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config, as_dict, config_from_dict
from hpo_utils.base.errors import StopRequest, StudyError
from hpo_utils.base.interrupts import outages, raise_dropped, remembered, was_interrupted
from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import PreparedData
from hpo_utils.network.devices import select_device
from hpo_utils.network.memory import release_memory
from hpo_utils.training.stopping import Stop
from hpo_utils.trials.budget import has_time_for_another
from hpo_utils.trials.objective import objective
from hpo_utils.trials.ownership import claim, give_back, is_run_by, register_worker
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import count_finished, enqueued_params, stored_trial


@dataclass(frozen=True)
class Search:
    """What all trials of a search share, whichever process runs them.

    Attributes
    ----------
    cfg
        The base configuration.
    space
        The search space.
    data
        The prepared data.
    stop
        The conditions for stopping early; interrupted trials wait to be resumed.
    queued_only
        Whether to end when no trial is waiting, instead of letting the sampler suggest another.
    """

    cfg: Config
    space: SearchSpace
    data: PreparedData
    stop: Stop
    queued_only: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # pickle cannot find settings classes with more targets, which are created at run time
        plain = (as_dict(self.cfg), self.space, self.data, self.stop, self.queued_only)
        return _search_from_plain, plain


def _search_from_plain(content: dict[str, Any], *others: Any) -> Search:
    return Search(config_from_dict(content), *others)


class Tickets(Protocol):
    """A semaphore: one ticket allows one trial, so several workers never run too many."""

    def acquire(self, block: bool = ...) -> bool:
        """Take a ticket; without ``block`` return at once whether there was one."""
        ...

    def release(self) -> None:
        """Give a ticket back."""
        ...


@remembered()
def run_trials(
    study: optuna.Study,
    search: Search,
    tickets: Tickets,
    on_finished: Callable[[FrozenTrial], None],
    name: str | None = None,
) -> None:
    """Run trials in this process, one after another, as long as there are tickets.

    A trial that is interrupted, or that the disk has no room for, waits to be resumed. ``name`` is
    the team's name for this process.
    """
    cfg = search.cfg
    owner, device = register_worker(study, name), select_device(cfg.training.device)
    root = resolve(cfg.paths.outputs_root)
    failures = 0
    try:
        while search.stop.reason() is None and tickets.acquire(block=False):
            raise_dropped()
            if nothing_left(study, search):
                break  # another process works on the same study
            trial = study.ask()
            if search.queued_only and enqueued_params(stored_trial(study, trial.number)) is None:
                study.tell(trial, state=TrialState.FAIL)  # another process was faster
                break
            signed: dict[str, Any] = {}
            try:
                signed = claim(trial, owner)
                outcome = run_trial(trial, search)
                release_memory(device)
                if not is_run_by(study, trial, signed):
                    continue  # taken for dead, e.g. while the machine slept: now another's
                study.tell(trial, *outcome)
            except UpdateFinishedTrialError:
                continue  # likewise, and finished by another process
            except StopRequest as request:
                give_back(study, trial, signed, root, str(request))
                break
            except outages() as error:
                with suppress(*outages()):
                    give_back(study, trial, signed, root, str(error))
                raise StudyError(_unusable(error)) from error
            except BaseException:
                give_back(study, trial, signed, root, "interrupted")
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
        release_memory(device)  # memory of an interrupted trial


def nothing_left(study: optuna.Study, search: Search) -> bool:
    """Return whether the study has all its trials, or no time for another.

    With ``queued_only`` return whether none is waiting.
    """
    if search.queued_only:
        return not study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    wanted = search.cfg.study
    done = wanted.n_more is None and count_finished(study) >= wanted.n_trials
    return done or not has_time_for_another(study, search.cfg, search.data.n_train)


def run_trial(trial: optuna.Trial, search: Search) -> tuple[float | None, TrialState]:
    """Run one trial and return its value and state, as ``Study.tell`` takes them.

    Errors that are not the trial's own failure are raised: a stop request, a disk or storage that
    cannot be used, and a trial that another process has finished.
    """
    try:
        score = objective(trial, search.cfg, search.space, search.data, search.stop)
        return score, TrialState.COMPLETE
    except optuna.TrialPruned:
        return None, TrialState.PRUNED
    except (StopRequest, UpdateFinishedTrialError):
        raise
    except outages():
        raise
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        trial.set_user_attr("failure", f"{type(error).__name__}: {error}")
        return None, TrialState.FAIL


@contextmanager
def needing_storage() -> Iterator[None]:
    """Raise ``StudyError`` if the block or decorated function finds a file or storage unusable."""
    try:
        yield
    except outages() as error:
        raise StudyError(_unusable(error)) from error


def _unusable(error: Exception) -> str:
    """Return the message for a file or a storage that cannot be read or written."""
    cause = error.__cause__ or error
    details = getattr(cause, "details", None)  # of gRPC errors, whose own text has many lines
    reason = " ".join(str(details() if callable(details) else cause).split())
    return (
        f"the study's files and storage must be usable, but there was {reason}: make room, set the"
        " permissions right or bring back what is gone, and run again; every trial goes on from"
        " where it was"
    )
