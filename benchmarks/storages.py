"""How many epochs and trials a second each storage takes from many workers at once.

    python benchmarks/storages.py DIRECTORY [--workers 1 8 64 256] [--seconds 10]
                                  [--postgres postgresql+psycopg://tuner@127.0.0.1/hpo]

A worker does what ours does at the storage, and its training takes no time: it asks for a trial of
ten parameters, reports five epochs and looks after each whether to prune, notes six attributes and
tells the score. Workers are threads of four processes. SQLite lies in DIRECTORY; PostgreSQL is a
server that runs already, its password in PGPASSWORD; the proxy stands in front of it on loopback.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
from record import keep

from hpo_utils.base.config import load_config
from hpo_utils.trials.storage import create_pruner, open_storage

N_PROCESSES, N_PARAMETERS, N_EPOCHS, N_ATTRIBUTES = 4, 10, 5, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--postgres", default=None)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    print("storage      workers  epochs/s  trials/s  median of an epoch  95 %")
    runs = measure("SQLite", f"sqlite:///{options.directory}/storages.db", options)
    if options.postgres is not None:
        runs += measure("PostgreSQL", options.postgres, options)
        port = free_port()
        command = [sys.executable, "-m", "hpo_utils", "proxy", "--port", str(port),
                   "--overrides", f"study.storage={options.postgres}"]  # fmt: skip
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            runs += measure("gRPC proxy", f"grpc://127.0.0.1:{port}", options)
        finally:
            proxy.terminate()
            proxy.wait()
    keep("storages", runs, seconds=options.seconds)


def measure(name: str, address: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print and return one line for each number of workers at a storage."""
    runs = []
    for n_workers in options.workers:
        study_name = f"{name}-{n_workers}-{time.time():.0f}"
        optuna.create_study(study_name=study_name, storage=opened(address, 1))
        context = multiprocessing.get_context("spawn")
        n_processes = min(N_PROCESSES, n_workers)
        shares = [
            n_workers // n_processes + (i < n_workers % n_processes) for i in range(n_processes)
        ]
        arguments = [(address, study_name, share, options.seconds) for share in shares]
        with context.Pool(n_processes) as pool:
            found = pool.starmap(work, arguments)
        epochs = [seconds for each, _ in found for seconds in each]
        n_trials = sum(n for _, n in found)
        middle, slow = statistics.median(epochs), statistics.quantiles(epochs, n=20)[-1]
        print(
            f"{name:<12} {n_workers:>7}  {len(epochs) / options.seconds:>8.0f}"
            f"  {n_trials / options.seconds:>8.1f}  {1e3 * middle:>15.1f} ms  {1e3 * slow:.0f} ms",
            flush=True,
        )
        runs.append(
            {
                "storage": name, "workers": n_workers,
                "epochs_a_second": len(epochs) / options.seconds,
                "trials_a_second": n_trials / options.seconds,
                "median_ms": 1e3 * middle, "ms_95": 1e3 * slow,
            }
        )  # fmt: skip
    return runs


def opened(address: str, n_threads: int) -> optuna.storages.BaseStorage:
    """Open a storage as ours do, with a connection for each thread: workers have their own."""
    storage = open_storage(load_config(None, [f"study.storage={address}"]))
    if isinstance(storage, optuna.storages.RDBStorage) and address.startswith("postgresql"):
        arguments = {"pool_size": n_threads, "max_overflow": 2}
        return optuna.storages.RDBStorage(address, engine_kwargs=arguments)
    return storage


def work(address: str, study_name: str, n_threads: int, seconds: float) -> tuple[list[float], int]:
    """Be some workers for so long; return the seconds of each epoch, and the trials told."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = opened(address, n_threads)
    epochs: list[float] = []
    told: list[int] = []
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=be_worker, args=(storage, study_name, until, epochs, told))
        for _ in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return epochs, len(told)


def be_worker(
    storage: Any, study_name: str, until: float, epochs: list[float], told: list[int]
) -> None:
    sampler = optuna.samplers.RandomSampler()
    pruner = create_pruner(load_config(None))
    study = optuna.load_study(
        study_name=study_name, storage=storage, sampler=sampler, pruner=pruner
    )
    while time.monotonic() < until:
        trial = study.ask()
        score = sum(trial.suggest_float(f"p{k}", 0.0, 1.0) for k in range(N_PARAMETERS))
        for epoch in range(1, N_EPOCHS + 1):
            started = time.monotonic()
            trial.report(score / epoch, epoch)
            trial.should_prune()
            epochs.append(time.monotonic() - started)
        for k in range(N_ATTRIBUTES):
            trial.set_user_attr(f"a{k}", score)
        study.tell(trial, score)
        told.append(trial.number)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
