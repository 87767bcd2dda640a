"""The cluster executor: workers that Ray places on the nodes of a cluster.

Ray starts the workers, watches them and reports which died. The trials are shared through the
study's storage, as among the processes of one machine. All nodes need this package, and need the
storage, ``outputs_root`` and the arrays under the same paths.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import optuna
import ray
from optuna.trial import FrozenTrial
from ray.exceptions import RayError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hpo_utils.base.config import Config
from hpo_utils.base.errors import StudyError
from hpo_utils.base.paths import project_root
from hpo_utils.trials.storage import CONNECT_S
from hpo_utils.workers.team import Job, Team, most_at_once
from hpo_utils.workers.worker import Search

PASSED_ON = ("PG", "OPTUNA_", "HPO_")  # prefixes of the environment variables that workers need
GRACE = 10.0  # seconds for a worker, perhaps on another node, to requeue its trial


def run_on_cluster(
    study: optuna.Study,
    search: Search,
    n_trials: int,
    on_finished: Callable[[FrozenTrial], None],
) -> None:
    """Run trials on a Ray cluster; see ``run_workers``."""
    cfg = search.cfg
    environment = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
    job = Job(search, study.study_name, cfg.study.cpus_per_worker, environment)
    try:
        _connect(cfg)
        _check_storage(cfg)
        resources = needed(cfg, living_nodes())
        n_workers = count_workers(cfg, resources, living_nodes(), search.queued_only)
        # both queues live on the node of this process, so no other node can take them down
        here = ray.get_runtime_context().get_node_id()
        placement = NodeAffinitySchedulingStrategy(here, soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": placement}
        tickets, ended = QueuedTickets(n_trials, options), Queue(actor_options=options)
        task = ray.remote(_work).options(max_retries=0, **resources)

        def start(index: int, name: str) -> RayWorker:
            return RayWorker(task.remote(name, str(project_root()), job, tickets, ended))

        with Team(study, cfg, n_trials, start, tickets, ended, on_finished) as team:
            team.follow(min(n_workers, n_trials))
    except RayError as error:
        raise StudyError(
            f"the cluster must stay within reach, but there was {_sentence(error)}: run again to"
            " finish the study"
        ) from error


def living_nodes() -> list[dict[str, Any]]:
    """Return Ray's descriptions of the nodes that are alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def needed(cfg: Config, nodes: list[dict[str, Any]]) -> dict[str, float]:
    """Return the resources that a worker needs on its node, as options of a Ray task."""
    gpus = cfg.study.gpus_per_worker
    if gpus is None:
        wanted = cfg.training.device == "auto" or cfg.training.device.startswith("cuda")
        gpus = float(wanted and any(node["Resources"].get("GPU") for node in nodes))
    return {"num_cpus": cfg.study.cpus_per_worker, "num_gpus": gpus}


def count_workers(
    cfg: Config, resources: dict[str, float], nodes: list[dict[str, Any]], queued_only: bool
) -> int:
    """Return the number of workers: ``study.n_workers``, or as many as the nodes have room for.

    Raises
    ------
    StudyError
        If no node has room for a worker.
    """
    keys = {"num_cpus": "CPU", "num_gpus": "GPU"}
    room = sum(
        min(_fits(node["Resources"].get(keys[key], 0), n) for key, n in resources.items() if n > 0)
        for node in nodes
    )
    if room == 0:
        raise StudyError(
            f"a node of the cluster must have the {resources['num_cpus']:g} cores and"
            f" {resources['num_gpus']:g} GPUs of a worker, but none has: lower"
            " study.cpus_per_worker or study.gpus_per_worker"
        )
    return cfg.study.n_workers or min(room, most_at_once(cfg, queued_only))


def _fits(there: float, each: float) -> int:
    """Return how many workers fit; a worker's fraction of a GPU lies on a single GPU."""
    if each < 1:
        return int(there) * int(1 / each + 1e-9)  # 1 / 0.1 may be a hair below 10
    return int(there // each)


class QueuedTickets:
    """Tickets for trials, in a Ray queue that workers on any node can reach."""

    def __init__(self, n_trials: int, options: dict[str, Any]) -> None:
        self._queue = Queue(actor_options=options)
        self._queue.put_nowait_batch([None] * n_trials)

    def acquire(self, block: bool = True) -> bool:
        """Take a ticket; without ``block`` return at once whether there was one."""
        try:
            self._queue.get(block=block)
        except queue.Empty:
            return False
        return True

    def release(self) -> None:
        """Give a ticket back."""
        self._queue.put(None)


class RayWorker:
    """A worker that runs as a Ray task."""

    def __init__(self, task: ray.ObjectRef[None]) -> None:
        self._task = task

    def is_alive(self) -> bool:
        """Return whether the task has not ended; it may still wait for room on a node."""
        return not ray.wait([self._task], timeout=0)[0]

    def death(self) -> str | None:
        """Return how the worker died, in Ray's words; None if it lives or ended by itself."""
        if self.is_alive():
            return None
        try:
            ray.get(self._task)
        except RayError as error:
            return _sentence(error)
        return None

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the worker."""
        ray.cancel(self._task)

    def end(self) -> None:
        """Wait a moment for the worker to end, then kill it."""
        if not ray.wait([self._task], timeout=GRACE)[0]:
            ray.cancel(self._task, force=True)
            ray.wait([self._task], timeout=GRACE)


def _work(name: str, root: str, job: Job, tickets: QueuedTickets, ended: Queue) -> None:
    """Run the worker called ``name``; this is the entry point of the Ray task."""
    os.chdir(root)  # relative paths start here on every node
    os.environ.update(job.environment)
    job.run(name, tickets, ended)


def _connect(cfg: Config) -> None:
    """Connect this process to the cluster, or start a cluster.

    The connection lasts until the process ends, since starting takes long. A cluster that is
    started here listens on loopback only, see ``executors``.
    """
    if ray.is_initialized():
        return
    address = cfg.study.ray_address
    arguments: dict[str, Any] = {"address": address}
    if address is None:
        n_cpus = max(os.cpu_count() or 1, (cfg.study.n_workers or 1) * cfg.study.cpus_per_worker)
        arguments = {"address": "local", "num_cpus": n_cpus, "include_dashboard": False}
    try:
        if address not in (None, "auto"):  # Ray itself would keep trying for minutes
            where = urlsplit(address if "://" in address else f"ray://{address}")
            socket.create_connection((where.hostname or "", where.port or 0), CONNECT_S).close()
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except Exception as error:  # Ray raises plain ones, too, e.g. if a node starts slowly
        rule = f"study.ray_address must be a cluster's that answers, got {address}"
        if address is None:
            rule = "a cluster must start on this machine, but did not"
        raise StudyError(f"{rule}: {_sentence(error)}") from error


def _check_storage(cfg: Config) -> None:
    """Raise StudyError if several machines would have to lock an SQLite file over the network."""
    machines = {node["NodeManagerHostname"] for node in living_nodes()}
    if len(machines) > 1 and (cfg.study.storage or "sqlite").startswith("sqlite"):
        raise StudyError(
            f"study.storage must be a server that the cluster's {len(machines)} machines reach,"
            " got SQLite: set it to postgresql+psycopg://user@host/database or grpc://host:port"
        )


def _sentence(error: Exception) -> str:
    """Return the type of a Ray error and the first line of its message."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
