"""The team of workers that share a study's trials: start, monitor, replace and end them."""

from __future__ import annotations

import queue
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config
from hpo_utils.base.errors import HpoError, StudyError
from hpo_utils.base.interrupts import outages
from hpo_utils.base.paths import resolve
from hpo_utils.network.devices import using_threads
from hpo_utils.trials.ownership import give_back_from, recover_from, recover_interrupted
from hpo_utils.trials.sampler import create_sampler
from hpo_utils.trials.storage import create_pruner, open_storage, stored_trial
from hpo_utils.workers.worker import Search, Tickets, needing_storage, run_trials

MANY = 1024  # more workers than there will ever be
TRIALS_PER_WORKER = 5  # at least, in a search: the sampler learns from earlier trials
MAX_DEATHS_IN_A_ROW = 3  # of workers at one index, with no trial ended in between
POLL = 0.2  # seconds between two checks whether the workers are alive


class Queue(Protocol):
    """The queue of the workers' reports: numbers of ended trials, or an error message."""

    def put(self, item: Any) -> None:
        """Add an item."""
        ...

    def get(self, *, timeout: float) -> Any:
        """Return the oldest item; raise queue.Empty after ``timeout`` seconds without one."""
        ...


class Worker(Protocol):
    """A process of the team, here or on another machine."""

    def is_alive(self) -> bool:
        """Return whether the worker runs or has yet to start."""
        ...

    def death(self) -> str | None:
        """Return how the worker died; None if it lives or ended by itself."""
        ...

    def interrupt(self) -> None:
        """Ask the worker to requeue its trial and end."""
        ...

    def end(self) -> None:
        """Wait a moment for the worker to end, then force it to."""
        ...


@dataclass(frozen=True)
class Job:
    """The job description that every worker of a team receives."""

    search: Search
    study_name: str
    n_threads: int
    environment: dict[str, str]  # set first: the passwords are only here

    def run(self, name: str, tickets: Tickets, ended: Queue) -> None:
        """Run trials as the worker called ``name``, and report each trial that ended."""
        cfg = self.search.cfg
        try:
            with using_threads(self.n_threads), needing_storage():
                study = optuna.load_study(
                    study_name=self.study_name, storage=open_storage(cfg), pruner=create_pruner(cfg)
                )
                study.sampler = create_sampler(cfg)
                run_trials(study, self.search, tickets, lambda trial: ended.put(trial.number), name)
        except HpoError as error:
            ended.put(str(error))
        except KeyboardInterrupt:
            pass  # the interrupting process reports it


class Team:
    """The workers of a study.

    Parameters
    ----------
    study, cfg
        The study that the workers run, and its configuration.
    n_trials
        Number of trials to finish.
    start
        Starts the worker with a given index, under a name that no worker had before.
    tickets
        The tickets for trials; the ticket of a trial that a worker could not finish is released.
    ended
        The queue on which workers report.
    on_finished
        Called with each trial that ended.
    """

    def __init__(
        self,
        study: optuna.Study,
        cfg: Config,
        n_trials: int,
        start: Callable[[int, str], Worker],
        tickets: Tickets,
        ended: Queue,
        on_finished: Callable[[FrozenTrial], None],
    ) -> None:
        self._study, self._start, self._tickets = study, start, tickets
        self._ended, self._on_finished = ended, on_finished
        self._silent_after_s = cfg.study.silent_after_s
        self._root = resolve(cfg.paths.outputs_root)
        self._workers: dict[int, tuple[str, Worker]] = {}
        self._deaths: Counter[int] = Counter()  # by index, since a trial last ended
        self._n_left = n_trials
        # upper bound on the tickets lost with workers that died before they signed a trial
        self._n_lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._n_left > 0:
            for _, worker in self._workers.values():
                worker.interrupt()
        for _, worker in self._workers.values():
            worker.end()
        with suppress(*outages()):  # otherwise the next run recovers their trials
            for name, _ in self._workers.values():
                give_back_from(self._study, name, self._root)
            recover_interrupted(self._study, self._root, self._silent_after_s)

    def follow(self, n_workers: int) -> None:
        """Start the workers and pass on their reports until all have ended."""
        for index in range(n_workers):
            self._begin(index)
        while True:
            # check before reading the queue, which then has all reports of an ended worker
            at_work = any(worker.is_alive() for _, worker in self._workers.values())
            try:
                report = self._ended.get(timeout=POLL)
            except queue.Empty:
                if self._replace_dead():
                    continue
                # when all trials are done, a worker that waits for cluster room need not start
                if self._n_left == 0 or (not at_work and not self._make_up_for_lost()):
                    return
                continue
            if isinstance(report, str):
                raise StudyError(report)
            self._deaths.clear()
            trial = stored_trial(self._study, report)
            self._n_left -= trial.state != TrialState.FAIL
            self._on_finished(trial)

    def _begin(self, index: int) -> None:
        name = uuid.uuid4().hex
        self._workers[index] = name, self._start(index, name)

    def _replace_dead(self) -> bool:
        """Start a new worker for each dead one; return whether any worker had died."""
        dead = {
            index: (name, death)
            for index, (name, worker) in self._workers.items()
            if (death := worker.death())
        }
        for index, (name, death) in dead.items():
            self._deaths[index] += 1
            recovered = recover_from(self._study, name, self._root)
            for _ in recovered:
                self._tickets.release()
            self._n_lost += not recovered
            if self._deaths[index] >= MAX_DEATHS_IN_A_ROW:
                raise StudyError(
                    f"workers must end by themselves, but {self._deaths[index]} died in a row, the"
                    f" last with {death}: give them more memory or have fewer (study.n_workers),"
                    " and run again to finish the study"
                )
            self._begin(index)
        return bool(dead)

    def _make_up_for_lost(self) -> bool:
        """Start a worker for tickets lost with dead workers; return whether any may be lost."""
        n_lost, self._n_lost = min(self._n_lost, self._n_left), 0
        for _ in range(n_lost):
            self._tickets.release()
        if n_lost > 0:
            self._begin(0)
        return n_lost > 0


def most_at_once(cfg: Config, queued_only: bool) -> int:
    """Return how many trials may run at once so that the sampler can learn from earlier ones."""
    if queued_only:  # the sampler is not asked
        return MANY
    return max(1, (cfg.study.n_more or cfg.study.n_trials) // TRIALS_PER_WORKER)
