"""How often one of several equal configurations is called surely worse by the race."""

from __future__ import annotations

import numpy as np
from record import keep

from hpo_utils.report.verdict import surely_worse
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.standings import SampleScores, describe_race

CONFIDENCE, N_RACES = 0.95, 1000
# of the squared error's origin: common to all configurations, a configuration's own, a seed's own
COMMON, OWN, OF_SEED = 0.7, 0.2, 0.1


def race(
    rng: np.random.Generator, n_contenders: int, n_samples: int, n_seeds: int
) -> tuple[list[Contender], SampleScores]:
    """Return equal configurations, the winner first, and the scores of their samples."""
    common, contenders, scores = rng.normal(size=n_samples), list[Contender](), {}
    for number in range(n_contenders):
        own, seeds = rng.normal(size=n_samples), rng.normal(size=(n_seeds, n_samples))
        errors = (COMMON**0.5 * common + OWN**0.5 * own + OF_SEED**0.5 * seeds) ** 2
        directories = {seed: f"{number}/{seed}" for seed in range(n_seeds)}
        by_seed = dict(enumerate(errors.mean(axis=1).tolist()))
        contenders.append(Contender(number, False, {}, 0.5, by_seed, directories))
        scores |= dict(zip(directories.values(), errors, strict=True))
    return sorted(contenders, key=lambda contender: contender.mean), scores


def false_calls(n_contenders: int, n_seeds: int, n_samples: int) -> float:
    """Return the share of races in which an equal configuration is called surely worse."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(N_RACES):
        contenders, scores = race(rng, n_contenders, n_samples, n_seeds)
        rows = describe_race(contenders, scores, None, CONFIDENCE)["contenders"][1:]
        wrong += any(surely_worse(row, CONFIDENCE) for row in rows)
    return wrong / N_RACES


if __name__ == "__main__":
    print("| contenders | seeds | samples | called surely worse |\n|---|---|---|---|")
    runs = []
    for n_contenders, n_seeds in ((2, 5), (6, 5), (11, 10)):
        for n_samples in (24, 96, 400):
            share = false_calls(n_contenders, n_seeds, n_samples)
            case = {"contenders": n_contenders, "seeds": n_seeds, "samples": n_samples}
            runs.append({**case, "surely_worse": share})
            print(f"| {n_contenders} | {n_seeds} | {n_samples} | {share:.1%} |", flush=True)
    keep("false_calls", runs)
