"""Figures of a study: course of the search, and importance of the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
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
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.formatting import short_name
from hpo_utils.base.language import _
from hpo_utils.base.style import GREY, PALETTE, WIDTH, grid, plain_log_ticks, styled
from hpo_utils.insight.importances import position
from hpo_utils.trials.storage import best_of, score_of

MAX_MINUTES = 180  # longer timelines are drawn in hours
ABREAST = 10  # ends of parameters, or letters of a small panel, that stand side by side
ASLANT: dict[str, Any] = {"rotation": 40, "rotation_mode": "anchor"}
MAX_WORKERS = 25  # maximum number of labelled rows in a timeline
SCORE_LABEL = "validation score (lower is better)"
ENDINGS = {
    TrialState.COMPLETE: (PALETTE[0], "complete"),
    TrialState.PRUNED: (GREY, "pruned"),
    TrialState.FAIL: (PALETTE[1], "failed"),
}


@styled
def plot_optimization_history(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw the score of every trial in order, and the best score so far."""
    figure, (axes,) = grid(1, 1, 3.4)
    complete = _numbers_and_scores(trials, TrialState.COMPLETE)
    pruned = _numbers_and_scores(trials, TrialState.PRUNED)
    for (numbers, scores), color, marker, label in (
        (complete, PALETTE[0], "o", _("complete ({n})")),
        (pruned, GREY, "x", _("pruned: last score ({n})")),
    ):
        if len(scores):
            label = label.format(n=len(scores))
            axes.scatter(numbers, scores, c=color, marker=marker, label=label)
    if len(complete[1]):
        best = np.minimum.accumulate(complete[1])
        last = max([*complete[0], *pruned[0]])  # the best score is drawn up to this trial
        axes.step(
            [*complete[0], last], [*best, best[-1]], where="post", color=PALETTE[1],
            label=_("best so far"),
        )  # fmt: skip
    axes.set_yscale("log")
    plain_log_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=_("Optimisation history"), xlabel=_("trial"), ylabel=_(SCORE_LABEL))
    last = max(trial.number for trial in trials)
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def plot_trial_learning_curves(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw finished trials' scores over the epochs; pruned ones end in a cross, the best is red."""
    figure, (axes,) = grid(1, 1, 3.8)
    best = best_of(trials)
    # curves of shape (n_epochs, 2), drawn as one artist: 1,000 separate ones take seconds
    complete: list[NDArray[np.float64]] = []
    given_up: list[NDArray[np.float64]] = []
    for trial in trials:
        if not (trial.intermediate_values and trial.state.is_finished()):
            continue
        curve = np.array(sorted(trial.intermediate_values.items()))
        if trial is best:
            axes.plot(*curve.T, color=PALETTE[1], linewidth=2.2, zorder=3)
        else:
            (complete if trial.state == TrialState.COMPLETE else given_up).append(curve)
    for curves, color in ((complete, PALETTE[0]), (given_up, GREY)):
        axes.add_collection(LineCollection(curves, colors=color, linewidths=1, alpha=0.6))
    axes.plot(*np.array([curve[-1] for curve in given_up]).reshape(-1, 2).T, "x", color=GREY)
    axes.autoscale_view()
    axes.set(title=_("Learning curves of all trials"), xlabel=_("epoch"), ylabel=_(SCORE_LABEL))
    axes.set_yscale("log")
    plain_log_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=PALETTE[0], label=_("complete"))]
    if best is not None:
        label = _("best: trial {n}").format(n=best.number)
        handles.insert(0, Line2D([], [], color=PALETTE[1], label=label))
    handles.append(Line2D([], [], color=GREY, marker="x", label=_("pruned or failed")))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@styled
def plot_importances(importances: pd.DataFrame, n_trials: int) -> Figure:
    """Draw the result of ``importances.parameter_importances`` for ``n_trials`` complete trials."""
    figure, (axes,) = grid(1, 1, max(2.2, 1.2 + 0.38 * len(importances)))
    positions = np.arange(len(importances))
    for offset, column, color, label in (
        (-0.2, "fanova", PALETTE[0], _("fANOVA: share of the explained variance")),
        (0.2, "ped_anova", PALETTE[4], _("PED-ANOVA: separates the best tenth")),
    ):
        axes.barh(positions + offset, importances[column], 0.36, color=color, label=label)
        ends = importances[[f"{column}_low", f"{column}_high"]]
        axes.hlines(positions + offset, *ends.to_numpy().T, color="black", linewidth=1)
    axes.set_yticks(positions, [short_name(name) for name in importances.index])
    axes.invert_yaxis()
    title = _("Importance, from {n} complete trials").format(n=n_trials)
    axes.set(title=title, xlabel=_("importance (sums to 1)"))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_slices(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw the score of complete trials against each parameter; later trials are darker."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    spaces: dict[str, BaseDistribution] = {}
    for trial in complete:
        spaces.update(trial.distributions)
    figure, panels = grid(len(spaces), 4, 2.2)
    for axes, (name, space) in zip(panels, spaces.items(), strict=True):
        having = [trial for trial in complete if name in trial.params]
        points = axes.scatter(
            _along(axes, "x", name, space, having), [score_of(t) for t in having],
            c=[trial.number for trial in having], cmap="viridis_r", s=16,
            vmin=0, vmax=max(1, *(trial.number for trial in complete)),
        )  # fmt: skip
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
        spec = axes.get_subplotspec()
        axes.set_ylabel(_("validation score") if spec is not None and spec.is_first_col() else "")
    ticks = MaxNLocator(4, integer=True)
    figure.colorbar(points, ax=panels, label=_("trial"), pad=0.02, shrink=0.7, ticks=ticks)
    return figure


@styled
def plot_pairs(trials: Sequence[FrozenTrial], pairs: Sequence[tuple[str, str]]) -> Figure:
    """Draw the complete trials over each pair of parameters; good scores are dark."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    figure, panels = grid(len(pairs), 3, 2.8)
    scores = [score_of(trial) for trial in complete]
    norm = _score_norm(scores)
    for axes, pair in zip(panels, pairs, strict=True):
        x, y = (
            _along(axes, which, name, complete[0].distributions[name], complete)
            for which, name in zip("xy", pair, strict=True)
        )
        points = axes.scatter(x, y, c=scores, cmap="viridis", norm=norm, s=26)
    bar = figure.colorbar(points, ax=panels, label=_(SCORE_LABEL), pad=0.02)
    plain_log_ticks(bar.ax.yaxis)
    return figure


@styled
def plot_timeline(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw when each trial ran and how it ended, one row for each worker."""
    ran = [
        (trial, trial.datetime_start, trial.duration)
        for trial in trials
        if trial.datetime_start is not None and trial.duration is not None
    ]
    first = min(start for _, start, _ in ran)
    rows: dict[Any, int] = {}
    row_of = []
    for trial, *__ in ran:
        owner = trial.user_attrs.get("owner", {})
        row_of.append(rows.setdefault((owner.get("host"), owner.get("pid")), len(rows)))
    starts = [(start - first).total_seconds() for _, start, _ in ran]
    seconds = [duration.total_seconds() for _, _, duration in ran]
    long = max(map(sum, zip(starts, seconds, strict=True))) > MAX_MINUTES * 60
    unit, scale = ("h", 3600) if long else ("min", 60)
    figure, (axes,) = grid(1, 1, 2.0 + 0.24 * min(len(rows), MAX_WORKERS))
    axes.barh(
        row_of,
        [value / scale for value in seconds],
        left=[value / scale for value in starts],
        color=[ENDINGS[trial.state][0] for trial, _, _ in ran],
        height=0.7, edgecolor="white",
    )  # fmt: skip
    for color, label in ENDINGS.values():
        axes.barh([0], [0], color=color, label=_(label))
    named = range(0, len(rows), math.ceil(len(rows) / MAX_WORKERS))
    axes.set_yticks(named, [_("worker {n}").format(n=row + 1) for row in named])
    time = _("time since the first trial [{unit}]").format(unit=unit)
    axes.set(title=_("When each trial ran"), xlabel=time)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
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
    axis = list(distributions.items())
    names = list(distributions)
    figure = Figure(figsize=(WIDTH, 4.6))
    axes = figure.add_subplot()
    scores = [score_of(trial) for trial in complete]
    scale = ScalarMappable(_score_norm(scores), "viridis")
    heights = np.array(
        [
            [position(d, trial.params[k]) if k in trial.params else np.nan for k, d in axis]
            for trial in complete
        ]
    )  # (n_trials, n_parameters)
    places = np.broadcast_to(np.arange(len(names)), heights.shape)
    colors = scale.to_rgba(np.array(scores))
    lines = LineCollection([*np.stack([places, heights], axis=2)], colors=colors, alpha=0.8)
    axes.add_collection(lines)
    axes.scatter(
        places.ravel(), heights.ravel(), c=np.repeat(colors, len(names), axis=0), s=9, alpha=0.8
    )
    bar = figure.colorbar(scale, ax=axes, label=_(SCORE_LABEL), pad=0.02)
    plain_log_ticks(bar.ax.yaxis)
    crowded = len(names) > ABREAST
    above, below = ("left", "right") if crowded else ("center", "center")
    turned = ASLANT if crowded else {}
    for k, name in enumerate(names):
        low, high = _ends(distributions[name])
        axes.text(k, 1.04, high, ha=above, va="bottom", fontsize=8, **turned)
        axes.text(k, -0.04, low, ha=below, va="top", fontsize=8, **turned)
    axes.set_xticks(range(len(names)), [short_name(name) for name in names])
    for label in axes.get_xticklabels():
        label.set(ha="right", **ASLANT)
    axes.tick_params(axis="x", pad=34 if crowded else 16, length=0)
    axes.set(ylim=(-0.02, 1.02), yticks=[], xlim=(-0.4, len(names) - 0.6))
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(_("Parameters of the complete trials"), pad=52 if crowded else 22)
    return figure


def _score_norm(scores: Sequence[float]) -> LogNorm:
    """Return the colour scale; it spans at least 10 %, even if all scores are alike."""
    return LogNorm(min(scores), max(max(scores), 1.1 * min(scores)))


def _numbers_and_scores(
    trials: Sequence[FrozenTrial], state: TrialState
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers and scores of the trials in ``state`` that have a score."""
    scored = [(t.number, t.value) for t in trials if t.state == state and t.value is not None]
    return np.array([number for number, _ in scored]), np.array([score for _, score in scored])


def _along(
    axes: Axes, which: str, name: str, space: BaseDistribution, trials: Sequence[FrozenTrial]
) -> list[Any]:
    """Set up axis ``x`` or ``y`` for the search range of a parameter.

    Return the positions of the trials on the axis.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    axis.set_label_text(short_name(name))
    values = [trial.params[name] for trial in trials]
    if isinstance(space, CategoricalDistribution):
        words = [str(choice) for choice in space.choices]
        axis.set_ticks(range(len(words)), words)
        if which == "x" and len(" ".join(words)) > ABREAST:
            for label in axis.get_ticklabels():
                label.set(ha="right", **ASLANT)
        set_limits(-0.5, len(space.choices) - 0.5)
        return [space.choices.index(value) for value in values]
    assert isinstance(space, IntDistribution | FloatDistribution)
    low, high = float(space.low), float(space.high)
    if space.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        margin = max((high / low) ** 0.05, 1.05)
        set_limits(low / margin, high * margin)
    else:
        axis.set_major_locator(MaxNLocator(4, integer=isinstance(space, IntDistribution)))
        margin = 0.05 * (high - low or 1.0)
        set_limits(low - margin, high + margin)
    return values


def _ends(distribution: BaseDistribution) -> tuple[str, str]:
    """Return the labels of the lower and upper end of a parameter's axis."""
    if isinstance(distribution, CategoricalDistribution):
        return str(distribution.choices[0]), str(distribution.choices[-1])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return f"{distribution.low:g}", f"{distribution.high:g}"
