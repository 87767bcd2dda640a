"""What a trial costs beside its training when a study has many: Optuna, SQLite, the study's files.

    python benchmarks/many_trials.py [--sizes 50 5000]

A study is filled with finished trials of the demo's search space; then trials are asked for,
suggested, reported over ten epochs, told and summed up as ``run_study`` does it, without training.
What a process reads once, when it joins the study, is shown apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import optuna
from record import keep

from hpo_utils.base.config import load_config, with_target_weights
from hpo_utils.study.search import FILES_INTERVAL, FILES_SHARE
from hpo_utils.study.summary import write_study_files
from hpo_utils.trials.sampler import create_sampler
from hpo_utils.trials.search_space import load_search_space, suggest_hyperparameters
from hpo_utils.trials.storage import create_pruner, open_storage

P, T = ParamSpec("P"), TypeVar("T")
N_TRIALS, N_EPOCHS = 15, 10
ATTRIBUTES = {
    "owner": {"host": "here", "pid": 1},
    "output_dir": "2026-01-01/12-00-00",
    "effort": {"seconds": 5.0},
    "best_epoch": 9,
    "val_r2": dict.fromkeys("abcdef", 0.5),
}
TRIAL_SECONDS = 5.0  # of a short training, for the share of the study's files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 5000])
    sizes = parser.parse_args().sizes
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        costs = Costs(Path(scratch))
        found = [costs.at(size) for size in sizes]
    print(f"{sizes[-1]} trials over {sizes[0]}: {found[-1] / found[0]:.2f}")
    keep("many_trials", costs.runs)


class Costs:
    """A study that grows, and the seconds of each step of a trial in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        loaded = load_config("params/demo.yaml", [f"paths.outputs_root={root}"])
        self.cfg = with_target_weights(loaded, 6)
        self.space = load_search_space(self.cfg, 6)
        self.study = optuna.create_study(study_name="many", storage=open_storage(self.cfg))
        self.study.sampler = create_sampler(self.cfg)
        self.study.pruner = create_pruner(self.cfg)
        self.rng = np.random.default_rng(0)
        self.seconds: dict[str, float] = defaultdict(float)
        self.runs: list[dict[str, Any]] = []

    def spend(self, step: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.perf_counter()
        outcome = action(*args, **kwargs)
        self.seconds[step] += time.perf_counter() - started
        return outcome

    def score(self) -> float:
        return float(self.rng.random() + 0.3)

    def fill(self, size: int) -> None:
        known = len(self.study.get_trials(deepcopy=False))
        drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=known))
        for _ in range(size - known):
            trial = drawn.ask()
            suggest_hyperparameters(trial, self.cfg, self.space)
            finished = optuna.create_trial(
                params=trial.params, distributions=trial.distributions, value=self.score(),
                intermediate_values={epoch: self.score() for epoch in range(1, N_EPOCHS + 1)},
                user_attrs={"output_dir": "2026-01-01/12-00-00", "best_epoch": 9},
            )  # fmt: skip
            self.study.add_trial(finished)

    def at(self, size: int) -> float:
        self.fill(size - N_TRIALS)
        self.seconds.clear()
        self.spend("read", self.study.get_trials, deepcopy=False)
        read = self.seconds.pop("read")
        print(f"{size} trials: read in {read:.1f} s, once in a process")
        for _ in range(N_TRIALS):
            trial = self.spend("ask", self.study.ask)
            self.spend("suggest", suggest_hyperparameters, trial, self.cfg, self.space)
            for epoch in range(1, N_EPOCHS + 1):
                self.spend("report", trial.report, self.score(), epoch)
                self.spend("prune", trial.should_prune)
            for name, value in ATTRIBUTES.items():
                self.spend("attributes", trial.set_user_attr, name, value)
            self.spend("tell", self.study.tell, trial, self.score())
        self.spend("files", write_study_files, self.study, self.root)
        # written now and then, however short the trials: see run_study
        pause = max(FILES_INTERVAL, self.seconds["files"] / FILES_SHARE)
        self.seconds["files"] *= N_TRIALS * min(1.0, TRIAL_SECONDS / pause)
        each = {step: 1e3 * seconds / N_TRIALS for step, seconds in self.seconds.items()}
        whole = sum(each.values())
        self.runs.append({"trials": size, "read_s": read, "ms_a_trial": whole, "of_which_ms": each})
        steps = ", ".join(f"{step} {value:.0f}" for step, value in each.items())
        print(f"{size} trials: {whole:.0f} ms per trial ({steps})", flush=True)
        return whole


if __name__ == "__main__":
    main()
