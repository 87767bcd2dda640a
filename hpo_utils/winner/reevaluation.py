"""Re-evaluation of the best trials on fresh seeds: is the study's best trial really the best?

The study's best trial is the luckiest of many, so its score is optimistic. Here the best few
trials and the base configuration are trained again on seeds that played no part in the selection.
The mean over the seeds ranks them; a contender that looks worse gets no further seeds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import Config, updated
from hpo_utils.base.paths import resolve
from hpo_utils.data.prepared import PreparedData
from hpo_utils.scores.intervals import paired_p_value
from hpo_utils.study.retraining import (
    POLL,
    SEED,
    VAL_FOLD,
    Settings,
    complete_settings,
    fresh_seeds,
    in_turn,
    settings_key,
    train_all,
)
from hpo_utils.training.stopping import create_stop
from hpo_utils.trials.ownership import recover_interrupted
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import AGAIN, score_of
from hpo_utils.winner.contenders import Contender, luckiest

FIRST_ROUND = 3  # seeds before a contender can be dropped; after two, the best is dropped too often


def reevaluate(
    study: optuna.Study, cfg: Config, space: SearchSpace, data: PreparedData
) -> list[Contender]:
    """Race the best trials and the base configuration over fresh seeds.

    Finished trainings are reused, so running twice costs nothing.

    Returns
    -------
    list of Contender
        The winner first: contenders with all seeds by mean score, then the beaten ones.
    """
    contenders, seeds = choose_contenders(study, cfg, space), fresh_seeds(cfg)
    n_folds = len(data.val_folds(cfg))
    space = in_turn(space, n_folds)
    print(f"retraining: {len(contenders)} contenders, up to {len(seeds)} fresh seeds for each")
    done = min(FIRST_ROUND, len(seeds))
    while True:
        racing = [contender for contender in contenders if not contender.beaten]
        pairs = [(contender, seed) for seed in seeds[:done] for contender in racing]
        wanted = {
            f"{contender.name} with seed {seed}": complete_settings(
                cfg, contender.params, seed, n_folds
            )
            for contender, seed in pairs
        }
        trials = train_all(study, AGAIN, cfg, space, data, wanted)
        for (contender, seed), trial in zip(pairs, trials, strict=True):
            complete = trial.state == TrialState.COMPLETE  # otherwise the loss diverged
            contender.scores[seed] = score_of(trial) if complete else float("inf")
            contender.directories[seed] = trial.user_attrs["output_dir"]
            contender.val_folds[seed] = trial.params.get(VAL_FOLD, 0)
        if done == len(seeds):  # no seeds left to save: all remaining ones get a p value
            for contender in racing:
                contender.beaten = bool(np.isinf(contender.mean))  # diverged
            return sorted(contenders, key=lambda c: (np.isinf(c.mean), c.beaten, c.mean))
        race(contenders, cfg.evaluation.confidence)
        done += 1


def wait_for_others(study: optuna.Study, cfg: Config) -> None:
    """Wait for the trials that other processes are running now, since one may be the best.

    Raises
    ------
    StopRequest
        If the user created the file ``optuna/STOP`` below ``outputs_root``.
    """
    root = resolve(cfg.paths.outputs_root)
    stop = create_stop(updated(cfg, {"study.timeout": None, "study.budget": None}))
    recover_interrupted(study, root, cfg.study.silent_after_s)
    awaited = _running(study)
    if awaited:
        print(f"waiting for trials that other processes run: {sorted(awaited)}", flush=True)
    while awaited:
        time.sleep(POLL)
        stop.check()
        recover_interrupted(study, root, cfg.study.silent_after_s)
        awaited &= _running(study)


def choose_contenders(study: optuna.Study, cfg: Config, space: SearchSpace) -> list[Contender]:
    """Return the ``evaluation.n_best`` best distinct trials and the base configuration.

    The base is left out if ``study.try_base`` is off, since it may lie outside the search space.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    base = _without_seed(space.values_in(cfg)) if cfg.study.try_base else None
    contenders: dict[str, Contender] = {}
    for trial in sorted(complete, key=score_of):
        params = _without_seed(trial.params)
        if params == base or len(contenders) < cfg.evaluation.n_best:
            new = Contender(trial.number, params == base, params, trial.value)
            contenders.setdefault(settings_key(params), new)
    if base is not None:
        contenders.setdefault(settings_key(base), Contender(None, True, base, None))
    return list(contenders.values())


def race(contenders: list[Contender], confidence: float) -> None:
    """Mark contenders as beaten whose scores are worse than the leader's on the same seeds.

    This only saves seeds: it tests repeatedly without correction, so ``standings`` makes the final
    comparison. The study's best trial gets all seeds unless it diverges: stopping once it looks bad
    would overstate how optimistic its score in the study was.
    """
    racing = [contender for contender in contenders if not contender.beaten]
    leader, best = min(racing, key=lambda contender: contender.mean), luckiest(contenders)
    for contender in racing:
        theirs = [contender.scores[seed] for seed in leader.scores]
        p_value = paired_p_value(theirs, list(leader.scores.values()), "greater")
        worse = contender is not best and p_value is not None and p_value < 1 - confidence
        if contender is not leader and (worse or np.isinf(contender.mean)):
            contender.beaten = True


def _without_seed(params: Mapping[str, Any]) -> Settings:
    return {name: value for name, value in params.items() if name != SEED}


def _running(study: optuna.Study) -> set[int]:
    """Return the numbers of the running trials."""
    return {t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
