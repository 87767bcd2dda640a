"""How often the short race decides as the full one: trainings spent, and quality of the winner."""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from record import keep

from hpo_utils.trials.budget import race_trainings, remaining

N_TRIALS, N_SEEDS, N_RACES = 20, 5, 2000
FULL = 5  # best trials in the full race, each and the base on all seeds


def race(scores: NDArray[np.float64], halving: bool) -> int:
    """Return the row of ``scores`` (n_contenders, n_seeds) that wins, all raced or by halving."""
    racing = np.arange(len(scores))
    for n_seeds in range(1, scores.shape[1] if halving else 1):
        order = scores[racing, :n_seeds].mean(axis=1).argsort()
        racing = racing[order[: remaining(len(racing), n_seeds)]]
    return int(racing[scores[racing].mean(axis=1).argmin()])


def simulate(noise: float, n_best: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the share of like decisions, and how much worse both winners are than the best.

    The trials' true scores lie one unit apart on average (exponential), their score in the study
    and on each seed has normal ``noise``. Decisions are alike if the short race's winner is truly
    no worse than the full race's, beyond what the full race itself can tell: the standard error of
    a difference of two means over the seeds.
    """
    alike, regrets = 0, np.zeros((N_RACES, 2))
    for number in range(N_RACES):
        true = rng.exponential(size=N_TRIALS)
        order = (true + noise * rng.normal(size=N_TRIALS)).argsort()
        contenders = [*order[:FULL], int(rng.integers(N_TRIALS))]  # the base may be any
        scores = true[contenders][:, None] + noise * rng.normal(size=(FULL + 1, N_SEEDS))
        short = [*range(n_best), FULL]
        full_winner = true[contenders[race(scores, halving=False)]]
        short_winner = true[contenders[short[race(scores[short], halving=True)]]]
        alike += short_winner <= full_winner + noise * (2 / N_SEEDS) ** 0.5
        regrets[number] = short_winner - true.min(), full_winner - true.min()
    return alike / N_RACES, *regrets.mean(axis=0) / noise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-best", type=int, nargs="+", default=[1, 2, 3, 5])
    print("| noise | best trials | trainings | alike | worse, short | worse, full |")
    print("|---|---|---|---|---|---|")
    runs = []
    for noise in (0.03, 0.1, 0.3, 1.0):
        for n_best in parser.parse_args().n_best:
            found = simulate(noise, n_best, np.random.default_rng(0))
            case = {"noise": noise, "best_trials": n_best}
            names = ("alike", "worse_short", "worse_full")
            runs.append({**case, **dict(zip(names, map(float, found), strict=True))})
            row = [str(noise), str(n_best), str(race_trainings(n_best + 1, N_SEEDS))]
            row += [f"{found[0]:.1%}", *(f"{each:.2f}" for each in found[1:])]
            print(f"| {' | '.join(row)} |")
    keep("races", runs)
