"""Does the Gaussian process of `insight.importances` find the pairs of parameters that interact?

    python benchmarks/interactions.py [--studies 20]

Studies with a known truth, searched by TPE over six parameters: the log score is the sum of the
effects of single parameters, the joint effect of two of them or of none, and the luck of a seed.
Each study is asked twice with the same partial dependences and the same shuffled scores, once with
the Gaussian process and once with a random forest in its place. *Found*: the true pair is the
strongest, and stronger than by chance. *False alarm*: some pair is stronger than by chance where
none interacts. The results go to benchmarks/results/interactions.json.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import optuna
from record import keep
from sklearn.ensemble import RandomForestRegressor

from hpo_utils.insight import importances

TRIALS = (20, 40, 80)
JOINT = {"none": 0.0, "weak": 0.5, "strong": 1.0}  # size of the joint effect beside single ones
LUCK = 0.3  # standard deviation of the log score between seeds; single effects have about 0.8
PAIR = ("a", "b")


def simulated(n_trials: int, joint: float, seed: int) -> optuna.Study:
    """Return a study whose log score is known."""
    rng = np.random.default_rng(seed)

    def objective(trial: optuna.Trial) -> float:
        a = trial.suggest_float("a", 1e-5, 1e-2, log=True)
        b = trial.suggest_int("b", 32, 128, step=16)
        c = trial.suggest_float("c", 0.0, 0.5)
        trial.suggest_float("d", 0.0, 1.0)
        e = trial.suggest_categorical("e", [True, False])
        trial.suggest_int("f", 1, 5)
        x, y = math.log10(a) / 1.5 + 7 / 3, (b - 80) / 48  # both from -1 to 1
        single = 1.2 * x**2 + 0.5 * y + 1.5 * c + 0.3 * e
        return math.exp(single + joint * 1.5 * x * y + LUCK * rng.normal() - 2)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=n_trials)
    return study


def forest(x: Any, y: Any) -> RandomForestRegressor:
    return RandomForestRegressor(100, min_samples_leaf=2, random_state=0, n_jobs=1).fit(x, y)


def ask(study: optuna.Study, surface: Callable[..., Any]) -> tuple[bool, bool, float]:
    """Return whether the pair was found, whether any was, and the seconds that it took."""
    start = time.perf_counter()
    with mock.patch.object(importances, "_surface", surface):
        found = importances.interactions(study.trials)
    seconds = time.perf_counter() - start
    strongest, share, by_chance = found.index[0], *found.iloc[0]
    some = bool(share > by_chance)
    return some and set(strongest) == set(PAIR), some, seconds


def main(n_studies: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surfaces = {"gaussian_process": importances._surface, "forest": forest}
    rows = []
    for n_trials in TRIALS:
        for effect, joint in JOINT.items():
            studies = [simulated(n_trials, joint, seed) for seed in range(n_studies)]
            for name, surface in surfaces.items():
                found, some, seconds = zip(*(ask(s, surface) for s in studies), strict=True)
                rows.append(
                    {
                        "trials": n_trials, "joint_effect": effect, "surface": name,
                        "studies": n_studies, "found": sum(found), "any_pair": sum(some),
                        "median_s": round(statistics.median(seconds), 2),
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    keep("interactions", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=20)
    main(parser.parse_args().studies)
