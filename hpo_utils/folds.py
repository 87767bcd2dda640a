"""The winner on every fold: each sample is tested once, by trainings that never saw it.

One test part is a draw of luck, and of a hundred samples a small one. Here the winner's
configuration is trained on each fold's training part in turn, and all folds speak together. Its
settings were chosen on one fold, whose validation and training samples test in others: that
flatters a little. Who wants none of it searches anew for each ``data_split.fold``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import IntDistribution

from hpo_utils.baselines import MEAN, best_baselines, fit_baselines
from hpo_utils.comparisons import raced_seeds, train_winner
from hpo_utils.config import Config
from hpo_utils.data import PreparedData
from hpo_utils.errors import DataError
from hpo_utils.evaluation import AllFolds
from hpo_utils.examination import NETWORK, errors_with_intervals, skill_with_intervals
from hpo_utils.intervals import count_units
from hpo_utils.looks import WINNER, note_look
from hpo_utils.members import load_member, predict_part
from hpo_utils.metrics import target_metrics
from hpo_utils.paths import resolve
from hpo_utils.reevaluation import Contender
from hpo_utils.resplit import FOLD, prepare_folds
from hpo_utils.search_space import Parameter, SearchSpace
from hpo_utils.storage import ALL_FOLDS

N_SEEDS = 2  # trainings on each fold, at most
BEST_BASELINE = "best baseline"  # of each fold, by its validation part

Array = NDArray[np.float32]


def on_all_folds(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    winner: Contender,
    by: str,
    before: AllFolds | str | None = None,
) -> AllFolds | str:
    """Train the winner's configuration on every fold and let all test parts speak together.

    Parameters
    ----------
    study, cfg, space, data
        The study, whose data are one of the folds.
    winner
        Who won the race: on the study's own fold, its trainings there are taken.
    by
        Who looks at the test parts.
    before
        What was found earlier: returned if it is of the same trainings.

    Returns
    -------
    AllFolds or str
        What was found, or why there is nothing.
    """
    n_folds, own = cfg.data_split.n_folds, cfg.data_split.fold
    if n_folds is None:
        return "The samples were split once (`data_split.n_folds`)."
    seeds = raced_seeds(winner, N_SEEDS)
    if not (cfg.evaluation.all_folds and seeds):
        return "Nothing was trained on the other folds."
    try:
        prepared = prepare_folds(cfg, data)
    except DataError as error:
        return f"The other folds cannot be prepared: {error}."
    others = [fold for fold in range(n_folds) if fold != own]
    with_fold = SearchSpace((Parameter(FOLD, IntDistribution(0, n_folds - 1)), *space.parameters))
    variants = {f"fold {fold}": {FOLD: fold} for fold in others}
    trained = train_winner(study, ALL_FOLDS, cfg, with_fold, prepared, winner, seeds, variants)
    members = {
        own: [winner.directories[seed] for seed in seeds],
        **{
            fold: [trial.user_attrs["output_dir"] for trial in trials.values()]
            for fold, trials in zip(others, trained, strict=True)
        },
    }
    if diverged := [fold for fold in others if not members[fold]]:
        return f"Every training on fold {diverged[0]} diverged."
    in_order, confidence = [members[fold] for fold in range(n_folds)], cfg.evaluation.confidence
    if isinstance(before, dict) and (before["members"], before["confidence"]) == (
        in_order, confidence,
    ):  # fmt: skip
        return before
    for fold in others:
        note_look(prepared.folds[fold], by, WINNER)
    return _examine(cfg, prepared.folds, in_order, confidence)


def _examine(
    cfg: Config, folds: Sequence[PreparedData], members: list[list[str]], confidence: float
) -> AllFolds:
    """Return what the test parts of all folds say of the network and their best baselines."""
    names, root = folds[0].target_names, resolve(cfg.paths.outputs_root)
    truth = [fold.targets("test") for fold in folds]
    predicted = [
        predict_part([load_member(root / each) for each in directories], fold, "test").mean(axis=0)
        for fold, directories in zip(folds, members, strict=True)
    ]
    means, bests = zip(*map(_baseline_predictions, folds), strict=True)
    y, ours, mean, best = (np.concatenate(each) for each in (truth, predicted, means, bests))
    units = _joined_units(folds)
    models = {NETWORK: ours, BEST_BASELINE: best}
    return {
        "members": members,
        "n_samples": len(y),
        "n_groups": folds[0].manifest["n_groups"],
        "n_units": count_units(len(y), units),
        "fold_r2": [
            [of["r2"] for of in target_metrics(*each, names).values()]
            for each in zip(truth, predicted, strict=True)
        ],
        "fold_skill": [
            [of["skill"] for of in skill_with_intervals(*each, None, confidence)]
            for each in zip(truth, predicted, bests, strict=True)
        ],
        "test": errors_with_intervals(y, models, names, units, confidence),
        "skill": skill_with_intervals(y, ours, best, units, confidence),
        "skill_over_mean": skill_with_intervals(y, ours, mean, units, confidence),
        "confidence": confidence,
    }


def _baseline_predictions(fold: PreparedData) -> tuple[Array, Array]:
    """Return the test part as its training mean and as its best baselines predict it, in units."""
    baselines = fit_baselines(fold)
    best = best_baselines(baselines, fold.targets("val"))
    mean = next(each.test_pred for each in baselines if each.name == MEAN)
    return mean, np.stack([each.test_pred[:, k] for k, each in enumerate(best)], axis=1)


def _joined_units(folds: Sequence[PreparedData]) -> NDArray[np.int64] | None:
    """Return the units of all test parts, one behind the other.

    Groups have the same number in every fold; blocks in time are counted anew in each.
    """
    units = [units for fold in folds if (units := fold.units("test")) is not None]
    if not units:
        return None
    if folds[0].groups("test") is None:
        firsts = np.cumsum([0, *(each.max() + 1 for each in units[:-1])])
        units = [each + first for each, first in zip(units, firsts, strict=True)]
    return np.concatenate(units)
