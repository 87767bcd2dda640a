"""The team: workers that share a study's trials, followed, replaced when one dies, ended."""

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
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.config import Config
from hpo_utils.base.errors import HpoError, StudyError
from hpo_utils.base.interrupts import outages
from hpo_utils.base.paths import resolve
from hpo_utils.trials.ownership import give_back_from, recover_from, recover_interrupted
from hpo_utils.trials.sampler import create_sampler
from hpo_utils.trials.storage import create_pruner, open_storage, stored_trial
from hpo_utils.workers.worker import Search, Tickets, needing_storage, run_trials

MANY = 1024  # workers, more than there will be
TRIALS_PER_WORKER = 5  # of a search, at least: the sampler learns from the trials before
MAX_DEATHS_IN_A_ROW = 3  # of workers in one place, without a trial that ended between them
POLL = 0.2  # seconds between two looks at whether the workers live


class Queue(Protocol):
    """What workers report on: numbers of trials that ended, or the sentence of an error."""

    def put(self, item: Any) -> None:
        """Add an item."""
        ...

    def get(self, *, timeout: float) -> Any:
        """Return the oldest item; queue.Empty if there is none for ``timeout`` seconds."""
        ...


class Worker(Protocol):
    """A process of the team, here or on another machine."""

    def is_alive(self) -> bool:
        """Return whether it works or is yet to begin."""
        ...

    def death(self) -> str | None:
        """Return how it died, None if it lives or ended by itself."""
        ...

    def interrupt(self) -> None:
        """Ask it to give its trial back and end."""
        ...

    def end(self) -> None:
        """Wait a moment for its end, then make it end."""
        ...


@dataclass(frozen=True)
class Job:
    """What every worker of a team is told."""

    search: Search
    study_name: str
    n_threads: int
    environment: dict[str, str]  # to be set first: it has the passwords, which are nowhere else

    def run(self, name: str, tickets: Tickets, ended: Queue) -> None:
        """Be the worker called ``name``: run trials and report each that ended."""
        cfg = self.search.cfg
        torch.set_num_threads(self.n_threads)
        try:
            with needing_storage():
                study = optuna.load_study(
                    study_name=self.study_name, storage=open_storage(cfg), pruner=create_pruner(cfg)
                )
                study.sampler = create_sampler(cfg)
                run_trials(study, self.search, tickets, lambda trial: ended.put(trial.number), name)
        except HpoError as error:
            ended.put(str(error))
        except KeyboardInterrupt:
            pass  # who interrupts says so


class Team:
    """The workers of a study.

    Parameters
    ----------
    study, cfg
        What they work at.
    n_trials
        Trials that are to finish.
    start
        Starts the worker of an index under a name that no worker had before.
    tickets
        Gets the ticket of a trial back that a worker could not finish.
    ended
        Where workers report.
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
        self._deaths: Counter[int] = Counter()  # of each index, since a trial ended
        self._n_left = n_trials
        # upper bound on the tickets of workers that died before they signed a trial
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
        with suppress(*outages()):  # else who opens the study next finds their trials
            for name, _ in self._workers.values():
                give_back_from(self._study, name, self._root)
            recover_interrupted(self._study, self._root, self._silent_after_s)

    def follow(self, n_workers: int) -> None:
        """Start the workers and pass on what they report until all have ended."""
        for index in range(n_workers):
            self._begin(index)
        while True:
            # in this order: what a worker reported before its end is in the queue by then
            at_work = any(worker.is_alive() for _, worker in self._workers.values())
            try:
                report = self._ended.get(timeout=POLL)
            except queue.Empty:
                if self._replace_dead():
                    continue
                # when all is done, one that waits for room on a cluster need not begin
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
        """Start a worker for each that died; return whether there was one."""
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
        """Start a worker for tickets that died with others; return whether there may be any."""
        n_lost, self._n_lost = min(self._n_lost, self._n_left), 0
        for _ in range(n_lost):
            self._tickets.release()
        if n_lost > 0:
            self._begin(0)
        return n_lost > 0


def most_at_once(cfg: Config, queued_only: bool) -> int:
    """Return how many trials may run at once so that the sampler can learn from those before."""
    if queued_only:  # nothing to learn
        return MANY
    return max(1, (cfg.study.n_more or cfg.study.n_trials) // TRIALS_PER_WORKER)
