"""Importance of the searched parameters, its uncertainty, and interactions between parameters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.trials.storage import score_of

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

MIN_TRIALS_FOR_IMPORTANCE = 4  # complete trials; with fewer a forest has nothing to split
MIN_TRIALS_FOR_INTERACTION = 20
N_RESAMPLES, N_TREES = 10, 16  # bootstrap resamples; trees of fANOVA's forest in each
MAX_RANKED = 300  # trials, drawn at random; the cost of fANOVA is quadratic
MAX_FITTED = 100  # trials, drawn at random; the cost of a Gaussian process is cubic
N_SHUFFLES = 9  # of the scores; 1 in 10 studies without interactions shows one by chance
SEED = 0  # of all random draws in this module
N_PLACES = 40  # trials at whose parameters a pair's joint effect is averaged


def parameter_importances(study: optuna.Study) -> pd.DataFrame:
    """Estimate in two ways how much each parameter changes the score, with uncertainty.

    Returns
    -------
    DataFrame
        Index: parameters that all complete trials have. ``fanova``: the parameter's share of the
        score variance that a random forest explains by single parameters (Hutter et al., ICML
        2014), from at most ``MAX_RANKED`` complete trials. ``ped_anova``: how well the parameter
        separates the best tenth from the rest (Watanabe et al., IJCAI 2023), a different question.
        Both are means over ``N_RESAMPLES`` bootstrap samples of these trials; ``<name>_low`` and
        ``<name>_high`` are the extremes. All values are zero or equal if no parameter explains the
        scores.
        Empty with fewer than ``MIN_TRIALS_FOR_IMPORTANCE`` complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS_FOR_IMPORTANCE:
        return pd.DataFrame(columns=["fanova", "ped_anova"])
    rng = np.random.default_rng(SEED)
    if len(complete) > MAX_RANKED:
        complete = [complete[i] for i in sorted(rng.permutation(len(complete))[:MAX_RANKED])]
    draws = rng.integers(len(complete), size=(N_RESAMPLES, len(complete)))
    shared = list(intersection_search_space(list(complete)))  # parameters that every trial has
    drawn = [_importances([complete[i] for i in draw], shared) for draw in draws]
    found = pd.DataFrame(index=shared)
    for name in drawn[0]:
        values = pd.concat([each[name] for each in drawn], axis=1)
        found[name] = values.mean(axis=1)
        found[f"{name}_low"], found[f"{name}_high"] = values.min(axis=1), values.max(axis=1)
    return found.sort_values("fanova", ascending=False)


def _importances(complete: Sequence[FrozenTrial], shared: list[str]) -> pd.DataFrame:
    # slow, and not needed by every report
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    study = optuna.create_study()
    study.add_trials(complete)
    evaluators = {
        "fanova": FanovaImportanceEvaluator(n_trees=N_TREES, seed=SEED),
        "ped_anova": PedAnovaImportanceEvaluator(),
    }
    found = {}
    with warnings.catch_warnings():  # PED-ANOVA: the best tenth holds all trials
        warnings.filterwarnings("ignore", "Target and region quantiles", UserWarning)
        for name, evaluator in evaluators.items():
            try:
                found[name] = optuna.importance.get_param_importances(
                    study, evaluator=evaluator, params=shared
                )
            except RuntimeError:  # fANOVA: no tree of the forest could split
                found[name] = dict.fromkeys(shared, 0.0)
    return pd.DataFrame(found)


def interactions(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Estimate which pairs of parameters interact, beyond their separate effects on the score.

    Returns
    -------
    DataFrame
        Index: pairs of parameters that all complete trials have, the strongest first. ``share``:
        the share of the variance of the log score that the pair's joint effect, predicted by a
        Gaussian process, explains beyond the sum of the two separate effects: the numerator of
        Friedman's H² (Friedman & Popescu, Ann. Appl. Stat. 2008, eq. 44) divided by that variance.
        ``by_chance``: the largest share of any pair over ``N_SHUFFLES`` random permutations of the
        scores; a real interaction is larger. Empty with fewer than ``MIN_TRIALS_FOR_INTERACTION``
        complete trials. A random forest is not used: with so few trials it fits steps, and it
        mistook additive effects for interactions.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    spaces = intersection_search_space(complete)
    spaces = {name: space for name, space in spaces.items() if not space.single()}
    if len(complete) < MIN_TRIALS_FOR_INTERACTION or len(spaces) < 2:
        return pd.DataFrame(columns=["share", "by_chance"])
    # (n_trials, n_parameters)
    x = np.array([[position(s, t.params[name]) for name, s in spaces.items()] for t in complete])
    y = np.log([score_of(trial) for trial in complete])
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(x))[:MAX_FITTED]
    x, y = x[order], y[order]
    share = pd.Series(_joint_shares(x, y), index=list(combinations(spaces, 2)))
    shuffled = [_joint_shares(x, rng.permutation(y)) for _ in range(N_SHUFFLES)]
    found = pd.DataFrame({"share": share, "by_chance": max(map(max, shuffled))})
    return found.sort_values("share", ascending=False)


def _joint_shares(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    """Return the share of the variance of ``y`` (n_trials,) due to each pair's interaction."""
    whole = float(np.var(y))
    surface, places, columns = _surface(x, y), x[:N_PLACES], range(x.shape[1])
    alone = [_effect(surface, places, [k]) for k in columns]
    return [
        float(np.mean((_effect(surface, places, [j, k]) - alone[j] - alone[k]) ** 2))
        / (whole or 1.0)
        for j, k in combinations(columns, 2)
    ]


def _surface(x: NDArray[np.float64], y: NDArray[np.float64]) -> GaussianProcessRegressor:
    """Fit a Gaussian process of ``y`` (n_trials,) to parameters ``x`` (n_trials, n_parameters)."""
    # slow, and not needed by every report
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel() * RBF(np.ones(x.shape[1]), (0.05, 50.0)) + WhiteKernel(0.1, (1e-4, 1))
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():  # irrelevant parameters: length scale at its bound
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted: GaussianProcessRegressor = model.fit(x, y)
    return fitted


def _effect(
    surface: GaussianProcessRegressor, places: NDArray[np.float64], columns: list[int]
) -> NDArray[np.float64]:
    """Return the centred partial dependence on some columns at each place, (n_places,)."""
    n = len(places)
    grid = np.repeat(places[None], n, axis=0)  # (n_places, n_places, n_parameters)
    grid[:, :, columns] = places[:, None, columns]  # axis 0 sets these columns, axis 1 the rest
    effect = surface.predict(grid.reshape(n * n, -1)).reshape(n, n).mean(axis=1)
    return np.asarray(effect - effect.mean())


def position(distribution: BaseDistribution, value: Any) -> float:
    """Return the position of a parameter's value in its range, from 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low or 1.0))
