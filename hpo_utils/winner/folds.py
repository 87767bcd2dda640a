"""Cross-validation of the winner or of the search, with joint results on all tested folds.

A single test part is a random draw, and with a hundred samples a small one. Here the folds are
evaluated jointly: each sample is predicted once, by trainings that never saw it. Either the
winner's configuration is trained on each fold, except the fold whose samples chose the winner,
because its result would be optimistic. Or each fold gets its own search (nested cross-validation:
Varma and Simon, BMC Bioinformatics 7 (2006), 91); this multiplies the time by the number of folds
and evaluates the whole search procedure.

The intervals are somewhat too narrow, since all samples of a fold share their trainings, and folds
share most of their training samples (Bengio and Grandvalet, J. Mach. Learn. Res. 5 (2004),
1089-1105).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import IntDistribution

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import ConfigError, DataError
from hpo_utils.base.paths import resolve
from hpo_utils.baselines.fitted import MEAN, best_baselines, fit_baselines, joined_test
from hpo_utils.baselines.take_home import TAKE_HOME, taken_home
from hpo_utils.bundle.members import Member, folds_of, load_member, predict_judged, predict_part
from hpo_utils.data.audit import LEAK, audit_leakage
from hpo_utils.data.prepared import PreparedData, judged_on
from hpo_utils.data.split import time_blocks
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.metrics import target_metrics
from hpo_utils.scores.skill import NETWORK, errors_with_intervals, skill_with_intervals
from hpo_utils.scores.yardstick import create_yardstick
from hpo_utils.study.companions import companion_name
from hpo_utils.training.test_looks import WINNER, note_look
from hpo_utils.trials.search_space import Parameter, SearchSpace
from hpo_utils.trials.storage import ALL_FOLDS, FOLD_SUFFIX, count_finished
from hpo_utils.winner.contenders import Contender, raced_seeds, train_winner
from hpo_utils.winner.evaluation import AllFolds, FoldResults
from hpo_utils.winner.resplit import FOLD, FoldedData, prepare_folds

N_SEEDS = 2  # maximum number of trainings on each fold
BEST_BASELINE = "best baseline"  # of each fold, chosen on its validation part

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SettledFold:
    """The winner that was settled on the study's own fold.

    ``members`` are the directories of the winning trainings; ``by`` describes them in the log of
    uses of the test parts; ``before`` holds earlier joint results, reused for the same trainings.
    """

    winner: Contender
    members: list[str]
    by: str
    before: AllFolds | str


def on_all_folds(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    settled: SettledFold,
    search: Callable[[Config], list[str]],
) -> AllFolds | str:
    """Train the winner's configuration, or search, on the folds; evaluate on their test parts.

    Parameters
    ----------
    study, cfg, space, data
        The study; its data are one of the folds.
    settled
        The winner settled on that fold.
    search
        Runs a search with a configuration; returns the directories of the winning trainings.

    Returns
    -------
    AllFolds or str
        The results, or the reason why there are none.
    """
    n_folds, own, how = cfg.data_split.n_folds, cfg.data_split.fold, cfg.evaluation.other_folds
    if n_folds is None:
        return "The samples were split once; with `data_split.n_folds` nearly all are tested."
    if how == "none" or (how == "train" and not raced_seeds(settled.winner)):
        return "The other folds were not asked (`evaluation.other_folds`, `evaluation.n_seeds`)."
    chose = (own - 1) % n_folds
    tested = [fold for fold in range(n_folds) if how == "search" or fold != chose]
    try:
        prepared = prepare_folds(cfg, data, tested)
        for each in prepared.folds.values():
            create_yardstick(cfg, data.target_names, each.targets("val"))  # raises if unscorable
    except (DataError, ConfigError, OSError) as error:
        return f"The other folds cannot be prepared: {error}."
    if how == "search":
        members = _by_searching(study, cfg, prepared, settled, search)
    else:
        members = _by_training(study, cfg, space, prepared, settled)
    if missing := [fold for fold, each in zip(tested, members, strict=True) if not each]:
        return f"No training on one of the folds was completed: fold {missing[0]}."
    if _is_known(settled.before, members, cfg.evaluation.confidence, data.target_names):
        return settled.before
    if how == "train":
        for fold in tested:
            if fold != own:
                note_look(prepared.folds[fold], settled.by, WINNER)
    found = _hear(prepared.folds, members, cfg)
    return {"searched": how == "search", "folds": tested, "own": own, "n_folds": n_folds, **found}


def _is_known(
    before: AllFolds | str, members: list[list[str]], confidence: float, names: list[str]
) -> TypeGuard[AllFolds]:
    """Return whether ``before`` holds results for these trainings, targets and confidence level."""
    return isinstance(before, dict) and (
        (before["members"], before["confidence"], list(before["test"][NETWORK]))
        == (members, confidence, names)
    )


def _by_searching(
    study: optuna.Study,
    cfg: Config,
    prepared: FoldedData,
    settled: SettledFold,
    search: Callable[[Config], list[str]],
) -> list[list[str]]:
    """Search on each other fold in its own study; return the winning trainings by fold.

    Each search has as many trials as the original study.
    """
    members, n_trials = [], count_finished(study)
    for fold in prepared.folds:
        if fold == cfg.data_split.fold:
            members.append(settled.members)
            continue
        suffix, root = f"{FOLD_SUFFIX}-{fold}", resolve(cfg.paths.outputs_root)
        name = companion_name(study._storage, study.study_name, suffix, root)
        print(f"searching anew on fold {fold}: study {name}", flush=True)
        changes = {
            FOLD: fold, "study.name": name, "study.n_trials": n_trials, "study.n_more": None,
            "evaluation.other_folds": "none", "evaluation.compare_random_split": False,
        }  # fmt: skip
        members.append(search(updated(cfg, changes)))
    return members


def _by_training(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    prepared: FoldedData,
    settled: SettledFold,
) -> list[list[str]]:
    """Train the winner's configuration on each other fold; return complete trainings by fold.

    The seeds are those of bundled trainings, which represent the study's own fold.
    """
    winner, taken = settled.winner, settled.members
    seeds = [seed for seed, trained in winner.directories.items() if trained in taken][:N_SEEDS]
    others = [fold for fold in prepared.folds if fold != cfg.data_split.fold]
    number = IntDistribution(0, (cfg.data_split.n_folds or 1) - 1)
    with_fold = SearchSpace((Parameter(FOLD, number), *space.parameters))
    variants = {f"fold {fold}": {FOLD: fold} for fold in others}
    trained = train_winner(study, ALL_FOLDS, cfg, with_fold, prepared, winner, seeds, variants)
    members = {cfg.data_split.fold: [winner.directories[seed] for seed in seeds]}
    for fold, trials in zip(others, trained, strict=True):
        members[fold] = [trial.user_attrs["output_dir"] for trial in trials.values()]
    return [members[fold] for fold in prepared.folds]


def _hear(
    numbered: Mapping[int, PreparedData], members: list[list[str]], cfg: Config
) -> FoldResults:
    """Evaluate the network and each fold's best baselines on the test parts of all folds."""
    folds = list(numbered.values())
    names, root = folds[0].target_names, resolve(cfg.paths.outputs_root)
    confidence = cfg.evaluation.confidence
    truth = [fold.targets("test") for fold in folds]
    of_folds = [
        _predictions(fold, [load_member(root / each) for each in directories], cfg)
        for fold, directories in zip(folds, members, strict=True)
    ]
    models = {name: np.concatenate([of[name] for of in of_folds]) for name in of_folds[0]}
    predicted, bests = ([of[name] for of in of_folds] for name in (NETWORK, BEST_BASELINE))
    y, on_scale = np.concatenate(truth), folds[0].target_scaler.on_scale
    scaled, ours, mean, best, home = (
        on_scale(each)
        for each in (y, *(models[name] for name in (NETWORK, MEAN, BEST_BASELINE, TAKE_HOME)))
    )
    of_folds_scaled = ([on_scale(each) for each in ys] for ys in (truth, predicted, bests))
    units = groups = _joined_groups(folds)
    if (
        groups is None and folds[0].independent_units("test") is not None
    ):  # by time: folds in temporal order
        units = time_blocks(len(y))
    return {
        "members": members,
        "leaking": [
            number
            for number, fold in numbered.items()
            if any(finding.verdict == LEAK for finding in audit_leakage(fold))
        ],
        "n_samples": len(y),
        "n_groups": None if groups is None else len(np.unique(groups)),
        "n_units": count_units(len(y), units),
        "fold_r2": [
            [of["r2"] for of in target_metrics(*each, names).values()]
            for each in zip(truth, predicted, strict=True)
        ],
        "fold_skill": [
            [of["skill"] for of in skill_with_intervals(true, own, other, None, confidence)]
            for true, own, other in zip(*of_folds_scaled, strict=True)
        ],
        "test": errors_with_intervals(y, models, names, units, confidence),
        "skill": skill_with_intervals(scaled, ours, best, units, confidence),
        "skill_over_mean": skill_with_intervals(scaled, ours, mean, units, confidence),
        "skill_home": skill_with_intervals(scaled, home, best, units, confidence),
        "confidence": confidence,
    }


def _predictions(fold: PreparedData, members: list[Member], cfg: Config) -> dict[str, Array]:
    """Return test predictions (n_samples, n_targets) of all models, in units.

    Beside the network and the baselines these are the fold's best baselines by its validation part,
    and what would go home of it.
    """
    fold = judged_on(fold, cfg, folds_of(members))
    baselines = fit_baselines(fold)
    networks = {"val": predict_judged(members, fold), "test": predict_part(members, fold, "test")}
    _, home = taken_home(cfg.evaluation.take_home, fold, baselines, networks)
    return {
        NETWORK: networks["test"].mean(axis=0),
        BEST_BASELINE: joined_test(best_baselines(baselines, fold)),
        TAKE_HOME: home["test"].mean(axis=0),
        **{baseline.name: baseline.test_pred for baseline in baselines},
    }


def _joined_groups(folds: list[PreparedData]) -> NDArray[np.int64] | None:
    """Return the concatenated groups of all test parts; all folds share one numbering."""
    groups = [groups for fold in folds if (groups := fold.groups("test")) is not None]
    return np.concatenate(groups) if groups else None
