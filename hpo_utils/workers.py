"""Workers: the processes that run a study's trials, this one alone or several on this machine."""

from __future__ import annotations

import gc
import importlib
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
from types import ModuleType
from typing import Any, Protocol

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.config import Config, as_dict, config_from_dict
from hpo_utils.data import PreparedData
from hpo_utils.devices import free_memory, release_memory, select_device
from hpo_utils.errors import HpoError, StudyError
from hpo_utils.objective import objective
from hpo_utils.ownership import current_owner, recover_interrupted
from hpo_utils.paths import resolve
from hpo_utils.search_space import SearchSpace
from hpo_utils.storage import create_pruner, open_storage, set_sampler

TRIALS_PER_WORKER = 5  # of a search, at least: the sampler learns from the trials before
WORKER_MEMORY = 2**30  # bytes that a worker takes beside its data
OPTIMISER_NEEDS = "torch._dynamo"  # imported by a process's first optimiser, in seconds
GRACE = 0.5  # seconds for a worker to end before it is made to
POLL = 0.2  # seconds between two looks at whether the workers live


class Tickets(Protocol):
    """A semaphore: one ticket allows one trial, so several workers never run too many."""

    def acquire(self, block: bool = ...) -> bool:
        """Take a ticket; without ``block`` return at once whether there was one."""
        ...

    def release(self) -> None:
        """Give a ticket back."""
        ...


def run_workers(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    n_trials: int,
    on_finished: Callable[[FrozenTrial], None],
    queued_only: bool = False,
) -> None:
    """Run trials until ``n_trials`` more of them are finished.

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
    on_finished
        Called in this process with each trial that ended.
    queued_only
        End when no trial waits, rather than let the sampler suggest another.

    Raises
    ------
    StudyError
        If ``study.max_consecutive_failures`` trials fail in a row, or a worker dies.
    """
    if n_trials == 0:
        return
    context = process_context()
    tickets = context.Semaphore(n_trials)
    n_processes = count_workers(cfg, data, n_trials, queued_only)
    if n_processes == 1:
        run_trials(study, cfg, space, data, tickets, on_finished, queued_only)
        return
    ended: Any = context.Queue()
    n_threads = max(1, torch.get_num_threads() // n_processes)
    arguments = (
        n_threads, as_dict(cfg), study.study_name, space, data, tickets, queued_only, ended,
    )  # fmt: skip
    processes = [
        context.Process(target=_work, args=(index, *arguments), name=f"worker {index}", daemon=True)
        for index in range(n_processes)
    ]
    with _without_main():
        for process in processes:
            process.start()
    try:
        _follow(study, list(processes), ended, on_finished)
    finally:
        _end(list(processes))
        recover_interrupted(study, resolve(cfg.paths.outputs_root))


def count_workers(cfg: Config, data: PreparedData, n_trials: int, queued_only: bool = False) -> int:
    """Return how many processes share the trials: ``study.n_workers``, or what suits the machine.

    That is one for each GPU, or one for each core, since the small networks of a search train
    faster on two cores apart than on both together; fewer where their data would not fit into the
    memory together, and so few that the sampler can learn from trials before.
    """
    if cfg.study.n_workers is not None:
        return min(cfg.study.n_workers, n_trials)
    device = select_device(cfg.training.device)
    at_once = n_trials if queued_only else max(1, n_trials // TRIALS_PER_WORKER)
    if device.type == "cuda":
        return min(at_once, torch.cuda.device_count() if device.index is None else 1)
    if device.type != "cpu":
        return min(at_once, 1)
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
    context.set_forkserver_preload(["hpo_utils.workers", OPTIMISER_NEEDS])
    return context


def start_server(cfg: Config) -> None:
    """Have the server import PyTorch while this process prepares, if there may be workers."""
    if cfg.study.n_workers != 1 and process_context().get_start_method() == "forkserver":
        with _without_main():
            forkserver.ensure_running()


def run_trials(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    tickets: Tickets,
    on_finished: Callable[[FrozenTrial], None],
    queued_only: bool = False,
) -> None:
    """Run trials in this process, one after the other, as long as there are tickets."""
    owner, device = current_owner(), select_device(cfg.training.device)
    failures = 0

    def run_one(trial: optuna.Trial) -> float:
        trial.set_user_attr("owner", owner)
        try:
            return objective(trial, cfg, space, data)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("failure", f"{type(error).__name__}: {error}")
            raise

    def note(_: optuna.Study, trial: FrozenTrial) -> None:
        nonlocal failures
        release_memory(device)
        failed = trial.state == TrialState.FAIL
        failures = failures + 1 if failed else 0
        if failed:
            tickets.release()
        on_finished(trial)
        if failures >= cfg.study.max_consecutive_failures:
            raise StudyError(
                f"the study was stopped because {failures} trials failed in a row, the last with"
                f" {trial.user_attrs.get('failure')}: see logs/traceback.txt of trial"
                f" {trial.number} in {trial.user_attrs.get('output_dir')}"
            )

    importlib.import_module(OPTIMISER_NEEDS)
    gc.freeze()  # what is there already need not be searched for garbage after every trial
    try:
        while tickets.acquire(block=False):
            waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if queued_only and not waiting:
                break
            study.optimize(run_one, n_trials=1, catch=(Exception,), callbacks=[note])
    finally:
        gc.unfreeze()
        release_memory(device)  # of a trial that was interrupted


def _work(
    index: int,
    n_threads: int,
    config: dict[str, Any],
    study_name: str,
    space: SearchSpace,
    data: PreparedData,
    tickets: Tickets,
    queued_only: bool,
    ended: Any,
) -> None:
    """Be worker ``index``: run trials, report each that ended, and the sentence of an error."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
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
        set_sampler(study, cfg, index)
        run_trials(
            study, cfg, space, data, tickets, lambda trial: ended.put(trial.number), queued_only
        )
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


def _end(processes: list[BaseProcess]) -> None:
    """End the workers: by themselves, else by an interrupt, which they note, else by force."""
    for process in processes:
        process.join(GRACE)
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join(GRACE)
        process.terminate()
        process.join()


def _die_with_parent() -> None:
    """End this process when its parent is gone: nobody would collect its work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _follow(
    study: optuna.Study,
    processes: list[BaseProcess],
    ended: Any,
    on_finished: Callable[[FrozenTrial], None],
) -> None:
    """Pass on what the workers report until all have ended."""
    complaints: list[str] = []
    while True:
        alive = any(process.is_alive() for process in processes)
        try:
            report = ended.get(timeout=POLL)
        except queue.Empty:
            if alive:
                continue
            break
        if isinstance(report, str):
            complaints.append(report)
        else:
            on_finished(study.get_trials(deepcopy=False)[report])
    if complaints:
        raise StudyError(complaints[0])
    dead = [process for process in processes if process.exitcode]
    if dead:
        raise StudyError(
            f"every worker must end by itself, but {dead[0].name} ended with code"
            f" {dead[0].exitcode}: run again to finish the study"
        )
