"""Figures of a study: what the search did, and what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.plots import GREY, PALETTE, WIDTH, grid, plain_log_ticks, styled
from hpo_utils.storage import best_of, score_of
from hpo_utils.tables import short_name

SCORE_LABEL = "validation score (lower is better)"
MIN_TRIALS_FOR_IMPORTANCE = 4  # complete trials; with fewer a forest has nothing to split


@styled
def plot_optimization_history(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw every trial's score in the order of the trials, and the best so far."""
    figure, (axes,) = grid(1, 1, 3.4)
    complete = _numbers_and_scores(trials, TrialState.COMPLETE)
    pruned = _numbers_and_scores(trials, TrialState.PRUNED)
    for (numbers, scores), color, marker, label in (
        (complete, PALETTE[0], "o", "complete"),
        (pruned, GREY, "x", "pruned: last score"),
    ):
        if len(scores):
            axes.scatter(numbers, scores, c=color, marker=marker, label=f"{label} ({len(scores)})")
    if len(complete[1]):
        best = np.minimum.accumulate(complete[1])
        axes.step(complete[0], best, where="post", color=PALETTE[1], label="best so far")
    axes.set_yscale("log")
    plain_log_ticks(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="Optimisation history", xlabel="trial", ylabel=SCORE_LABEL)
    axes.legend()
    return figure


@styled
def plot_trial_learning_curves(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw all trials' scores over the epochs: a pruned one ends in a cross, the best is red."""
    figure, (axes,) = grid(1, 1, 3.8)
    best = best_of(trials)
    for trial in trials:
        epochs = sorted(trial.intermediate_values)
        if not epochs:
            continue
        scores = [trial.intermediate_values[epoch] for epoch in epochs]
        if trial is best:
            axes.plot(epochs, scores, color=PALETTE[1], linewidth=2.2, zorder=3)
        elif trial.state == TrialState.COMPLETE:
            axes.plot(epochs, scores, color=PALETTE[0], linewidth=1, alpha=0.6)
        else:
            axes.plot(epochs, scores, color=GREY, linewidth=1, alpha=0.6)
            axes.plot(epochs[-1], scores[-1], "x", color=GREY)
    axes.set(title="Learning curves of all trials", xlabel="epoch", ylabel=SCORE_LABEL)
    axes.set_yscale("log")
    plain_log_ticks(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=PALETTE[0], label="complete")]
    if best is not None:
        handles.insert(0, Line2D([], [], color=PALETTE[1], label=f"best: trial {best.number}"))
    handles.append(Line2D([], [], color=GREY, marker="x", label="pruned or failed"))
    axes.legend(handles=handles)
    return figure


def parameter_importances(study: optuna.Study, seed: int = 0) -> pd.DataFrame:
    """Estimate how much each parameter changes the score, in two ways.

    Returns
    -------
    DataFrame
        Index: parameters that all complete trials have. ``fanova``: share of the variance of the
        score that a random forest explains by the parameter (Hutter et al., ICML 2014), of the
        complete trials. ``ped_anova``: how far the parameter separates the best tenth from the rest
        (Watanabe et al., IJCAI 2023), a different question. Empty with fewer than
        ``MIN_TRIALS_FOR_IMPORTANCE`` complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS_FOR_IMPORTANCE:
        return pd.DataFrame(columns=["fanova", "ped_anova"])
    shared = list(intersection_search_space(complete))  # parameters that every trial has
    evaluators = {
        "fanova": FanovaImportanceEvaluator(seed=seed),
        "ped_anova": PedAnovaImportanceEvaluator(),
    }
    columns = {
        name: optuna.importance.get_param_importances(study, evaluator=evaluator, params=shared)
        for name, evaluator in evaluators.items()
    }
    return pd.DataFrame(columns).sort_values("fanova", ascending=False)


@styled
def plot_importances(importances: pd.DataFrame, n_trials: int) -> Figure:
    """Draw what ``parameter_importances`` found in ``n_trials`` complete trials."""
    figure, (axes,) = grid(1, 1, max(2.2, 1.2 + 0.38 * len(importances)))
    positions = np.arange(len(importances))
    for offset, column, color, label in (
        (-0.2, "fanova", PALETTE[0], "fANOVA: share of the score's variance"),
        (0.2, "ped_anova", PALETTE[4], "PED-ANOVA: separates the best tenth"),
    ):
        axes.barh(positions + offset, importances[column], 0.36, color=color, label=label)
    axes.set_yticks(positions, [short_name(name) for name in importances.index])
    axes.invert_yaxis()
    axes.set(title=f"Importance, from {n_trials} complete trials", xlabel="importance (sums to 1)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_parallel_coordinates(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw one line per complete trial through all its parameters, coloured by its score.

    A conditional parameter that a trial does not have leaves a gap in its line.
    """
    complete = sorted(
        (trial for trial in trials if trial.state == TrialState.COMPLETE),
        key=score_of,
        reverse=True,
    )
    distributions: dict[str, BaseDistribution] = {}
    for trial in complete:
        distributions.update(trial.distributions)
    names = list(distributions)
    figure = Figure(figsize=(WIDTH, 4.6))
    axes = figure.add_subplot()
    scores = [score_of(trial) for trial in complete]
    scale = ScalarMappable(LogNorm(min(scores), max(scores) * 1.0001), "viridis")
    for trial, score in zip(complete, scores, strict=True):
        heights = [
            _height(distributions[name], trial.params[name]) if name in trial.params else np.nan
            for name in names
        ]
        axes.plot(
            heights, color=scale.to_rgba(np.array(score)), alpha=0.8, marker="o", markersize=3
        )
    bar = figure.colorbar(scale, ax=axes, label=SCORE_LABEL, pad=0.02)
    plain_log_ticks(bar.ax)
    for position, name in enumerate(names):
        low, high = _ends(distributions[name])
        axes.text(position, 1.04, high, ha="center", va="bottom", fontsize=8)
        axes.text(position, -0.04, low, ha="center", va="top", fontsize=8)
    axes.set_xticks(range(len(names)), [short_name(name) for name in names], rotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", pad=16, length=0)
    axes.set(ylim=(-0.02, 1.02), yticks=[], xlim=(-0.4, len(names) - 0.6))
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Parameters of the complete trials", pad=22)
    return figure


def _numbers_and_scores(
    trials: Sequence[FrozenTrial], state: TrialState
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers and scores of the trials in a state that have a score."""
    scored = [(t.number, t.value) for t in trials if t.state == state and t.value is not None]
    return np.array([number for number, _ in scored]), np.array([score for _, score in scored])


def _height(distribution: BaseDistribution, value: Any) -> float:
    """Return where on its axis, from 0 to 1, a value stands."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low or 1.0))


def _ends(distribution: BaseDistribution) -> tuple[str, str]:
    """Return the labels of the lower and the upper end of an axis."""
    if isinstance(distribution, CategoricalDistribution):
        return str(distribution.choices[0]), str(distribution.choices[-1])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return f"{distribution.low:g}", f"{distribution.high:g}"
