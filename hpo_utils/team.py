"""The team: the processes that share a study's trials, this one alone or several."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import ModuleType, TracebackType
from typing import Any, Self

import optuna
import torch
from optuna.trial import FrozenTrial

from hpo_utils.config import Config, as_dict, config_from_dict
from hpo_utils.data import PreparedData
from hpo_utils.devices import free_memory, select_device
from hpo_utils.errors import HpoError, StudyError
from hpo_utils.ownership import recover_from, recover_interrupted
from hpo_utils.paths import resolve
from hpo_utils.sampler import create_sampler
from hpo_utils.search_space import SearchSpace
from hpo_utils.stopping import Stop
from hpo_utils.storage import create_pruner, open_storage, stored_trial
from hpo_utils.workers import OPTIMISER_NEEDS, Tickets, run_trials

MANY = 1024  # workers, more than there will be
TRIALS_PER_WORKER = 5  # of a search, at least: the sampler learns from the trials before
WORKER_MEMORY = 2**30  # bytes that a worker takes beside its data
GRACE = 0.5  # seconds for a worker to end after its interrupt before it is made to
POLL = 0.2  # seconds between two looks at whether the workers live


def run_workers(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    n_trials: int,
    stop: Stop,
    on_finished: Callable[[FrozenTrial], None],
    queued_only: bool = False,
) -> None:
    """Run trials until ``n_trials`` more of them are finished, or the search is to stop.

    Parameters
    ----------
    study
        The study; its sampler serves if there is one worker, who is this process.
    cfg
        The base configuration; ``count_workers`` processes share the work.
    space
        What is searched.
    data
        What is trained on.
    n_trials
        Complete and pruned trials to add; failed ones do not count.
    stop
        When to stop before that; trials that are cut short wait to be continued.
    on_finished
        Called in this process with each trial that ended.
    queued_only
        End when no trial waits, rather than let the sampler suggest another.

    Raises
    ------
    StudyError
        If ``study.max_consecutive_failures`` trials fail in a row, or workers die.
    """
    if n_trials == 0:
        return
    context = process_context()
    tickets = context.Semaphore(n_trials)
    n_workers = count_workers(cfg, data, queued_only)
    if n_workers == 1:
        run_trials(study, cfg, space, data, tickets, stop, on_finished, queued_only)
        return
    ended: Any = context.Queue()
    arguments = (
        dict(os.environ), max(1, torch.get_num_threads() // n_workers), as_dict(cfg),
        study.study_name, space, data, tickets, stop, queued_only, ended,
    )  # fmt: skip

    def start(index: int) -> BaseProcess:
        name = f"worker {index}"
        process = context.Process(target=_work, args=(index, *arguments), name=name, daemon=True)
        with _without_main():
            process.start()
        return process

    team = Team(study, cfg, start, tickets, ended, on_finished)
    with team:
        team.follow(min(n_workers, n_trials))


def count_workers(cfg: Config, data: PreparedData, queued_only: bool = False) -> int:
    """Return how many processes share a study: ``study.n_workers``, or what suits the machine.

    That is one for each GPU, or one for each core, since the small networks of a search train
    faster on two cores apart than on both together; fewer where their data would not fit into the
    memory together, and so few that the sampler can learn from trials before. How much of the study
    is done already makes no difference: a trial is to compute with as many threads, which round
    differently, whether it is trained at once or after an interruption.
    """
    if cfg.study.n_workers is not None:
        return cfg.study.n_workers
    device = select_device(cfg.training.device)
    at_once = max(1, (cfg.study.n_more or cfg.study.n_trials) // TRIALS_PER_WORKER)
    if queued_only:  # nothing to learn
        at_once = MANY
    if device.type == "cuda":
        return min(at_once, torch.cuda.device_count() if device.index is None else 1)
    if device.type != "cpu":
        return 1
    n_bytes = sum(data.inputs(part).nbytes for part in ("train", "val", "test"))
    room = free_memory(device) // (n_bytes + WORKER_MEMORY)
    return min(at_once, max(1, room), cfg.training.n_threads or torch.get_num_threads())


def process_context() -> ForkServerContext | SpawnContext:
    """Return the way to start workers: forked from a server that has PyTorch imported already.

    The server never trains, so its forks are safe, which those of this process would not be. It
    ends with this process. Where there is no fork, each worker starts from nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hpo_utils.team", OPTIMISER_NEEDS])
    return context


def start_server(cfg: Config) -> None:
    """Have the server import PyTorch while this process prepares, if there may be workers."""
    if cfg.study.n_workers != 1 and process_context().get_start_method() == "forkserver":
        with _without_main():
            forkserver.ensure_running()


class Team:
    """The workers of a study, several processes: followed, replaced when one dies, ended.

    Parameters
    ----------
    study, cfg
        What they work at.
    start
        Starts the worker of a number.
    tickets
        Gets the ticket of a trial back that a worker could not finish.
    ended
        Queue on which workers report numbers of trials that ended, or the sentence of an error.
    on_finished
        Called with each trial that ended.
    """

    def __init__(
        self,
        study: optuna.Study,
        cfg: Config,
        start: Callable[[int], BaseProcess],
        tickets: Tickets,
        ended: Any,
        on_finished: Callable[[FrozenTrial], None],
    ) -> None:
        self._study, self._start, self._tickets = study, start, tickets
        self._ended, self._on_finished = ended, on_finished
        self._most_deaths = cfg.study.max_consecutive_failures
        self._silent_after_s = cfg.study.silent_after_s
        self._root = resolve(cfg.paths.outputs_root)
        self._processes: dict[int, BaseProcess] = {}
        self._deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        processes = list(self._processes.values())
        for process in processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)  # which they note, and give their trial back
        for process in processes:
            process.join(GRACE)
            process.terminate()
            process.join()
        recover_interrupted(self._study, self._root, self._silent_after_s)

    def follow(self, n_workers: int) -> None:
        """Start the workers and pass on what they report until all have ended."""
        for index in range(n_workers):
            self._processes[index] = self._start(index)
        while True:
            # in this order: what a worker reported before its end is in the queue by then
            at_work = any(process.is_alive() for process in self._processes.values())
            try:
                report = self._ended.get(timeout=POLL)
            except queue.Empty:
                if not self._replace_dead() and not at_work:
                    return
                continue
            if isinstance(report, str):
                raise StudyError(report)
            self._deaths = 0
            self._on_finished(stored_trial(self._study, report))

    def _replace_dead(self) -> bool:
        """Start a worker for each that died; return whether there was one."""
        dead = {i: process for i, process in self._processes.items() if process.exitcode}
        for index, process in dead.items():
            self._deaths += 1
            for _ in recover_from(self._study, process.pid or 0, self._root):
                self._tickets.release()
            if self._deaths >= self._most_deaths:
                raise StudyError(
                    f"workers must end by themselves, but {self._deaths} died in a row, the last"
                    f" with exit code {process.exitcode}: give them more memory or have fewer"
                    " (study.n_workers), and run again to finish the study"
                )
            self._processes[index] = self._start(index)
        return bool(dead)


def _work(
    index: int,
    environment: dict[str, str],
    n_threads: int,
    config: dict[str, Any],
    study_name: str,
    space: SearchSpace,
    data: PreparedData,
    tickets: Tickets,
    stop: Stop,
    queued_only: bool,
    ended: Any,
) -> None:
    """Be worker ``index``: run trials, report each that ended, and the sentence of an error."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(environment)  # the server that forks was started with an older one
    cfg = config_from_dict(config)
    n_gpus = torch.cuda.device_count()
    if n_gpus > 0 and cfg.training.device in ("auto", "cuda"):
        # one GPU each, in turn, of those that this machine or its user lets us see
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(n_gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index % n_gpus]
    torch.set_num_threads(n_threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = open_storage(cfg)
        study = optuna.load_study(study_name=study_name, storage=storage, pruner=create_pruner(cfg))
        study.sampler = create_sampler(cfg)

        def report(trial: FrozenTrial) -> None:
            ended.put(trial.number)

        run_trials(study, cfg, space, data, tickets, stop, report, queued_only)
    except HpoError as error:
        ended.put(str(error))
    except KeyboardInterrupt:
        pass  # the parent was interrupted too, and says so


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module from a process that starts: it would run the user's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _die_with_parent() -> None:
    """End this process when its parent is gone: nobody would collect its work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
