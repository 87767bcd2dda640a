"""The budget: what of a search and of settling its winner fits into ``study.budget``.

The budget counts from the start of a search until its winner is settled. A search begins a trial
only if it, and then the settling, should end in time; the race is as wide as the rest allows. Both
are estimated from the trials that are complete, so a budget shorter than a few trainings is
exceeded.
"""

from __future__ import annotations

import time
from statistics import mean, median
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import Config, budget_seconds, updated
from hpo_utils.trials.storage import score_of

UNTIL = "until"  # user attribute of a study: when its budget is over, in seconds since the epoch
FOR_SEARCH = 0.5  # share of the budget that the search gets, however long the settling would take
# for baselines, bundle and the test part; the larger of a share and seconds, which grow with the
# training samples, as fitting the baselines does
OTHERS, OTHERS_S, PER_SAMPLE_S = 0.08, 12.0, 0.002
FOLD_S = 4.0  # for the baselines of each validation part of the race, beside what grows
LEAST_SEEDS = 3  # of the winner, without which nothing can be said of it
DECISIVE = 2  # seeds before the race gives up the last contender but one
WITHOUT_CONSTRAINTS, VARIANTS = 2, 4  # trainings of the winner; also those on a random split


def begin(study: optuna.Study, cfg: Config, started: float) -> None:
    """Note in the study when its budget will be over; ``started`` is in seconds since the epoch."""
    if (seconds := budget_seconds(cfg)) is not None:
        study.set_user_attr(UNTIL, started + seconds)


def left(study: optuna.Study, cfg: Config) -> float | None:
    """Return the seconds that are left of the study's budget; None if it has none."""
    until = None if cfg.study.budget is None else study.user_attrs.get(UNTIL)
    return None if until is None else float(until) - time.time()


def has_time_for_another(study: optuna.Study, cfg: Config, n_train: int) -> bool:
    """Return whether another trial, and then the settling, should end within the budget."""
    seconds, rest = budget_seconds(cfg), left(study, cfg)
    if seconds is None or rest is None:
        return True
    durations = _durations(study, cfg)
    if durations is None:
        return rest > 0
    (trial, training), others = durations, _for_others(seconds, n_train)
    for_winner = (1 - FOR_SEARCH) * seconds
    if others + race_trainings(2, LEAST_SEEDS) * training > for_winner:
        return rest > trial + others  # there will be no race
    return rest > trial + min(others + _n_trainings(cfg) * training, for_winner)


def fitted_to_budget(study: optuna.Study, cfg: Config, n_train: int) -> Config:
    """Return a copy whose race should end within what is left of the study's budget.

    Where baselines for each of ``evaluation.race_folds`` would take long, one part validates. Then
    the comparison with a random split and the other folds are dropped, then contenders, then seeds:
    the winner's networks go home together, and more of them help more than a wider race. With too
    little time for a race the best trial wins as it is.
    """
    seconds, rest = budget_seconds(cfg), left(study, cfg)
    if seconds is None or rest is None or not cfg.evaluation.n_seeds:
        return cfg
    durations = _durations(study, cfg)
    if durations is None:
        return cfg
    for_folds = (cfg.evaluation.race_folds or 0) * (FOLD_S + n_train * PER_SAMPLE_S)
    if for_folds > OTHERS * seconds:
        cfg, for_folds = updated(cfg, {"evaluation.race_folds": 1}), 0.0
    affordable = (rest - _for_others(seconds, n_train) - for_folds) / durations[1]
    most = _n_contenders(cfg)
    n_seeds, n_folds = cfg.evaluation.n_seeds, cfg.data_split.n_folds or 1
    if affordable >= race_trainings(most, n_seeds) + VARIANTS + n_seeds * n_folds:
        return cfg
    changed: dict[str, Any] = {"evaluation.compare_random_split": False}
    if cfg.evaluation.other_folds == "train":
        changed |= {"evaluation.other_folds": "none"}
    races = (
        (contenders, seeds)
        for seeds in range(n_seeds, min(n_seeds, LEAST_SEEDS) - 1, -1)
        for contenders in range(most, 1, -1)
        if race_trainings(contenders, seeds) + WITHOUT_CONSTRAINTS <= affordable
    )
    n_contenders, n_seeds = next(races, (0, 0))
    changed |= {"evaluation.n_seeds": n_seeds}
    said = "the best trial wins as it is"
    if n_seeds:
        changed |= {"evaluation.n_best": max(1, n_contenders - cfg.study.try_base)}
        said = f"a race of {n_contenders} contenders for {n_seeds} seeds"
    print(f"the budget leaves {max(rest, 0):.0f} s to settle the winner: {said}", flush=True)
    return updated(cfg, changed)


def remaining(n_racing: int, n_seeds: int) -> int:
    """Return how many contenders go on after so many seeds of the race: half, rounded up."""
    return max((n_racing + 1) // 2, min(n_racing, 1 if n_seeds >= DECISIVE else 2))


def race_trainings(n_contenders: int, n_seeds: int) -> int:
    """Return how many trainings a race of so many contenders takes, if none diverges."""
    total, racing = 0, n_contenders
    for done in range(1, n_seeds + 1):
        total += racing
        racing = remaining(racing, done)
    return total


def _for_others(seconds: float, n_train: int) -> float:
    """Return the time to keep in a budget of so many seconds for all but trainings."""
    return max(OTHERS * seconds, OTHERS_S + n_train * PER_SAMPLE_S)


def _n_contenders(cfg: Config) -> int:
    return cfg.evaluation.n_best + cfg.study.try_base


def _n_trainings(cfg: Config) -> int:
    """Return the number of trainings that settle a winner, most of which the race takes."""
    n_seeds = cfg.evaluation.n_seeds
    return race_trainings(_n_contenders(cfg), n_seeds) + VARIANTS if n_seeds else 0


def _durations(study: optuna.Study, cfg: Config) -> tuple[float, float] | None:
    """Return seconds of a trial, and those after which the race has one more training.

    The race trains what was best, which may take longer than most, in as many processes as ran
    trials; each seed takes one of the folds that a trial is scored on. None before a trial is
    complete.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    own = [t for t in complete if "same_as" not in t.user_attrs and "effort" in t.user_attrs]
    if not own:
        return None
    signed = [t.user_attrs.get("owner", {}) for t in own]
    at_work = len({(owner.get("host"), owner.get("pid")) for owner in signed})
    ranked = sorted(own, key=score_of)
    took = [max(float(t.user_attrs["effort"]["seconds"]), 1e-3) for t in ranked]
    n_folds = int(study.user_attrs.get("signature", {}).get("score_folds", 1))
    return median(took), mean(took[: cfg.evaluation.n_best]) / n_folds / at_work
