"""Trials per hour of one worker and of two, one thread each, on the same trials of the demo.

    python benchmarks/workers.py [--repeats 3] [--executor ray] [--n-trials 16]

Settings are drawn by the trial's number alone and nothing is pruned, so both sides train the same
networks. Counted is the time from the first trial's start to the last one's end; what it takes to
start is shown apart.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time

from record import keep

from hpo_utils.base.config import load_config
from hpo_utils.study.search import run_study

SAME_TRIALS = [
    "training.n_threads=1", "training.epochs=4", "training.patience=null", "study.pruner=none",
    "study.n_startup_trials=1000",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--executor", default="in_process", choices=["in_process", "ray"])
    parser.add_argument("--n-trials", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        run(root, options.executor, 1, "prepare", 1)  # prepare the data, warm the caches
        ratios, runs = [], []
        for repeat in range(options.repeats):
            rates = {
                n: run(root, options.executor, n, f"{n}-{repeat}", options.n_trials) for n in (1, 2)
            }
            ratios.append(rates[2] / rates[1])
            runs.append({f"trials_an_hour_of_{n}": rate for n, rate in rates.items()})
            print(f"2 over 1: {ratios[-1]:.2f}", flush=True)
    print(
        f"median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}),"
        f" {options.executor}"
    )
    keep(f"workers_{options.executor}", runs)


def run(root: str, executor: str, n_workers: int, name: str, n_trials: int) -> float:
    """Run a study and return its trials per hour."""
    own = [f"study.n_workers={n_workers}", f"study.name={name}", f"study.executor={executor}"]
    settings = [*SAME_TRIALS, *own, f"paths.outputs_root={root}", f"study.n_trials={n_trials}"]
    began = time.time()
    with contextlib.redirect_stdout(io.StringIO()):
        study = run_study(load_config("params/demo.yaml", settings))
    starts = [trial.datetime_start.timestamp() for trial in study.trials]
    ends = [trial.datetime_complete.timestamp() for trial in study.trials]
    rate = 3600 * len(ends) / (max(ends) - min(starts))
    print(
        f"{n_workers} workers: {rate:.0f} trials per hour, {min(starts) - began:.0f} s to start,"
        f" best {study.best_value:.4f}",
        flush=True,
    )
    return rate


if __name__ == "__main__":
    main()
