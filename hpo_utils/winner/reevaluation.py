"""Re-evaluation of the best trials on fresh seeds: is the study's best trial really the best?

The study's best trial is the luckiest of many, so its score is optimistic. Here the best few
trials and the base configuration are trained again on seeds that played no part in the selection.
After each seed the worse half is given up (successive halving: Jamieson and Talwalkar, AISTATS
2016), so that most trainings are those of the winner, whose networks go home together.
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
from hpo_utils.study.retraining import (
    POLL,
    SEED,
    Settings,
    complete_settings,
    fresh_seeds,
    in_turn,
    settings_key,
    train_all,
)
from hpo_utils.training.stopping import create_stop
from hpo_utils.trials.budget import remaining
from hpo_utils.trials.earlier import VAL_FOLD
from hpo_utils.trials.ownership import recover_interrupted
from hpo_utils.trials.search_space import SearchSpace
from hpo_utils.trials.storage import AGAIN, score_of
from hpo_utils.winner.contenders import Contender


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
    n_folds = len(data.race_folds(cfg))
    space = in_turn(space, n_folds)
    print(f"retraining: {len(contenders)} contenders, up to {len(seeds)} fresh seeds for each")
    done = 0
    while done < len(seeds):
        racing = [contender for contender in contenders if not contender.beaten]
        done = done + 1 if len(racing) > 1 else len(seeds)
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
        # with no seeds left to save, all remaining ones get a p value
        give_up(racing, len(racing) if done == len(seeds) else remaining(len(racing), done))
    return sorted(contenders, key=lambda c: (np.isinf(c.mean), c.beaten, c.mean))


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


def give_up(racing: list[Contender], n_remaining: int) -> None:
    """Mark contenders as beaten, except so many with the best mean; a diverged one is beaten."""
    ranked = sorted(racing, key=lambda contender: contender.mean)
    for place, contender in enumerate(ranked):
        contender.beaten = place >= n_remaining or bool(np.isinf(contender.mean))


def _without_seed(params: Mapping[str, Any]) -> Settings:
    return {name: value for name, value in params.items() if name != SEED}


def _running(study: optuna.Study) -> set[int]:
    """Return the numbers of the running trials."""
    return {t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
