"""The executor for one machine: this process alone, or several processes that it starts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial

from hpo_utils.base.config import Config
from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import PreparedData
from hpo_utils.network.devices import select_device
from hpo_utils.network.memory import free_memory
from hpo_utils.trials.ownership import recover_interrupted
from hpo_utils.workers.server import process_context, without_main
from hpo_utils.workers.team import Job, Team, most_at_once
from hpo_utils.workers.worker import Search, Tickets, run_trials

WORKER_MEMORY = 2**30  # bytes that a worker needs besides its data
GRACE = 0.5  # seconds for an interrupted worker to end before it is terminated


def run_on_machine(
    study: optuna.Study,
    search: Search,
    n_trials: int,
    on_finished: Callable[[FrozenTrial], None],
) -> None:
    """Run trials on this machine; see ``run_workers``."""
    context = process_context()
    tickets = context.Semaphore(n_trials)
    n_workers = count_workers(search.cfg, search.data, search.queued_only)
    if n_workers == 1:
        try:
            run_trials(study, search, tickets, on_finished)
        except KeyboardInterrupt:  # perhaps between asking for a trial and signing it
            cfg = search.cfg
            recover_interrupted(study, resolve(cfg.paths.outputs_root), cfg.study.silent_after_s)
            raise
        return
    ended: Any = context.Queue()
    n_threads = max(1, torch.get_num_threads() // n_workers)
    job = Job(search, study.study_name, n_threads, dict(os.environ))

    def start(index: int, name: str) -> ProcessWorker:
        arguments = (index, name, job, tickets, ended)
        process = context.Process(target=_work, args=arguments, name=f"worker {index}", daemon=True)
        with without_main():
            process.start()
        return ProcessWorker(process)

    with Team(study, search.cfg, n_trials, start, tickets, ended, on_finished) as team:
        team.follow(min(n_workers, n_trials))


def count_workers(cfg: Config, data: PreparedData, queued_only: bool = False) -> int:
    """Return the number of workers: ``study.n_workers``, or what suits the machine.

    That is one worker per GPU, or one per core, since two small networks of a search train faster
    on one core each than one after another on both cores. There are fewer workers if their data
    would not fit into memory together, and few enough that the sampler can learn from earlier
    trials. How much of the study is done already makes no difference: a trial must use the same
    number of threads whether or not it is interrupted, since another number rounds differently.
    """
    if cfg.study.n_workers is not None:
        return cfg.study.n_workers
    device = select_device(cfg.training.device)
    at_once = most_at_once(cfg, queued_only)
    if device.type == "cuda":
        return min(at_once, torch.cuda.device_count() if device.index is None else 1)
    if device.type != "cpu":
        return 1
    room = free_memory(device) // (data.n_bytes + WORKER_MEMORY)
    apart = torch.get_num_threads() // (cfg.training.n_threads or 1)
    return max(1, min(at_once, room, apart))


class ProcessWorker:
    """A worker process on this machine, started by this process."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    def is_alive(self) -> bool:
        """Return whether the process is still running."""
        return self._process.is_alive()

    def death(self) -> str | None:
        """Return the exit code in words if the process failed or was killed, else None."""
        code = self._process.exitcode
        return f"exit code {code}" if code else None

    def interrupt(self) -> None:
        """Send SIGINT to the process, as Ctrl-C does."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """Wait a moment for the process to end, then terminate it."""
        self._process.join(GRACE)
        self._process.terminate()
        self._process.join()


def _work(index: int, name: str, job: Job, tickets: Tickets, ended: Any) -> None:
    """Run worker ``index``; this is the entry point of the worker process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(job.environment)  # the fork server was started with an older one
    n_gpus = torch.cuda.device_count()
    if n_gpus > 0 and job.search.cfg.training.device in ("auto", "cuda"):
        # each worker gets one of the visible GPUs, in turn
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(n_gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index % n_gpus]
    job.run(name, tickets, ended)


def _die_with_parent() -> None:
    """End this process when its parent is gone, since no process would collect its work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
