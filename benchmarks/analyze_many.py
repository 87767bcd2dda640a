"""How long 04_analyze takes on a study of many trials.

    python benchmarks/analyze_many.py [--n-trials 2000] [--repeats 3]

A small study is searched and settled; finished and pruned trials of made-up scores then join it,
below its winner, and papermill runs the notebook, in a process of its own, timed from its start.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from record import keep

from hpo_utils import run_study, settle_winner
from hpo_utils.base.config import load_config

ROOT = Path(__file__).resolve().parent.parent
N_EPOCHS = 6
SETTINGS = [
    "synthetic.n_samples=200", f"training.epochs={N_EPOCHS}", "study.n_trials=4",
    "evaluation.n_best=2",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-trials", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        overrides = [*SETTINGS, f"paths.outputs_root={scratch}"]
        cfg = load_config("params/smoke.yaml", overrides)
        study = run_study(cfg)
        settle_winner(study, cfg)
        study.add_trials(made_up(study, options.n_trials - len(study.trials)))
        command = [
            sys.executable, "-m", "papermill", "notebooks/04_analyze.ipynb", f"{scratch}/04.ipynb",
            "--no-progress-bar", "-p", "params_file", "params/smoke.yaml",
            "-p", "overrides", " ".join(overrides),
        ]  # fmt: skip
        seconds = []
        for _ in range(options.repeats):
            started = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
            print(f"{options.n_trials} trials: {seconds[-1]:.0f} s", flush=True)
    print(f"median {statistics.median(seconds):.0f} s")
    keep("analyze_many", [{"n_trials": options.n_trials, "seconds": each} for each in seconds])


def made_up(study: optuna.Study, n: int) -> list[FrozenTrial]:
    """Return trials with settings drawn from the study's space, none better than its best."""
    rng = np.random.default_rng(0)
    known = study.get_trials(states=[TrialState.COMPLETE])
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = []
    for i in range(n):
        like = known[i % len(known)]
        asked = drawn.ask(like.distributions)
        score = study.best_value + 0.05 + abs(rng.normal(0.0, 0.1))
        pruned = rng.random() < 0.3
        epochs = range(1, N_EPOCHS // 2 if pruned else N_EPOCHS + 1)
        trials.append(
            optuna.create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                params=asked.params, distributions=asked.distributions, value=score,
                intermediate_values={e: score + 0.1 * (1 - e / N_EPOCHS) for e in epochs},
                user_attrs=like.user_attrs,
            )
        )  # fmt: skip
    return trials


if __name__ == "__main__":
    main()
