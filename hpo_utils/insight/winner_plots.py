"""Figures of a settled winner: its race, what the test part says, its errors, what it looks at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from hpo_utils.base.language import _
from hpo_utils.base.style import (
    GREY,
    PALETTE,
    grid,
    image_extent,
    log_axes,
    styled,
    target_color,
    with_unit,
)
from hpo_utils.baselines.take_home import TAKE_HOME
from hpo_utils.insight.correlations import heat_map
from hpo_utils.scores.metrics import measured
from hpo_utils.scores.skill import NETWORK, TargetMetrics
from hpo_utils.winner.evaluation import AllFolds, Standing

LEAST_DRAWN = 1e-3  # of a distance over its limit, so that a twin's of zero has a logarithm
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "*")  # of the network, baselines, what goes home


@styled
def plot_race(contenders: Sequence[Standing], names: Sequence[str], score_name: str) -> Figure:
    """Draw each contender's score in the study, its scores on fresh seeds, mean and interval."""
    figure, (axes,) = grid(1, 1, 1.4 + 0.45 * len(contenders))
    names = [
        _("{name} (given up)").format(name=name) if row["beaten"] else name
        for name, row in zip(names, contenders, strict=True)
    ]
    colors = [
        PALETTE[1] if y == 0 else GREY if row["beaten"] else PALETTE[0]
        for y, row in enumerate(contenders)
    ]
    _draw_strips(axes, [row["scores"] for row in contenders], names, colors)
    for y, (row, color) in enumerate(zip(contenders, colors, strict=True)):
        if row["mean"] is not None:
            axes.plot(row["mean"], y, "|", color=color, markersize=16, markeredgewidth=2.5)
        low, high = row["interval"]
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=color, linewidth=1.5)
        if row["study_score"] is not None:
            axes.plot(row["study_score"], y - 0.28, "v", color="black", markersize=5)
    for marker, label in (("o", _("a fresh seed")), ("|", _("their mean, with interval"))):
        axes.plot([], [], marker, color=PALETTE[0], markeredgewidth=2, label=label)
    axes.plot([], [], "v", color="black", label=_("score in the study"))
    axes.set_yticks(range(len(names)), names)
    lower = _("{score} (lower is better)").format(score=score_name)
    axes.set(ylim=(len(names) - 0.5, -0.6), xlabel=lower)
    axes.set_title(_("Trained again with fresh seeds"))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def plot_test_intervals(
    test: Mapping[str, Mapping[str, TargetMetrics]], target_names: Sequence[str]
) -> Figure:
    """Draw R² with its interval for each target and model.

    The network and a mixture that goes home are filled, the others hollow. What lies below -1 is
    drawn at the edge, as an arrow.
    """
    models = list(test)
    filled = [model in (NETWORK, TAKE_HOME) for model in models]
    figure, (axes,) = grid(1, 1, 1.6 + (0.2 + 0.1 * len(models)) * len(target_names))
    offsets = np.linspace(-0.34, 0.34, len(models))
    for j, (model, offset) in enumerate(zip(models, offsets, strict=True)):
        for k, name in enumerate(target_names):
            _draw_r2(
                axes, test[model][name], k + offset, target_color(k), 2.4 if filled[j] else 1.0,
                marker=MARKERS[j % len(MARKERS)], markersize=7 if filled[j] else 5,
                markerfacecolor=target_color(k) if filled[j] else "white",
            )  # fmt: skip
    for j, model in enumerate(models):
        face = "black" if filled[j] else "white"
        axes.plot([], [], MARKERS[j % len(MARKERS)], color="black", markerfacecolor=face,
                  label=_(model))  # fmt: skip
    if any((found["r2"] or 0.0) <= -1 for by in test.values() for found in by.values()):
        axes.plot([], [], "<", color="black", markerfacecolor="white", label=_("below -1"))
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(target_names)), target_names)
    axes.set(ylim=(len(target_names) - 0.5, -0.5), xlim=(-1.05, 1.05))
    axes.set(xlabel=_("R² in the test part"), title=_("What the test part says"))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def plot_folds(folds: AllFolds, target_names: Sequence[str]) -> Figure:
    """Draw R² of the network in each fold, and of network and best baselines in all together.

    What lies below -1 is drawn at the edge.
    """
    own = folds["folds"].index(folds["own"])
    figure, (axes,) = grid(1, 1, 1.6 + 0.62 * len(target_names))
    network, baseline, *_others = folds["test"].values()
    drawn = [
        [None if (r2 := of[k]) is None else max(r2, -1.0) for of in folds["fold_r2"]]
        for k in range(len(target_names))
    ]
    _draw_strips(axes, drawn, target_names, [target_color(k) for k in range(len(target_names))])
    for k, name in enumerate(target_names):
        color = target_color(k)
        bar = {"marker": "|", "markersize": 16, "markeredgewidth": 2.5}
        _draw_r2(axes, network[name], k, color, 1.4, **bar)
        hollow = {"marker": "s", "markersize": 5, "markerfacecolor": "white"}
        _draw_r2(axes, baseline[name], k + 0.24, color, 1.4, **hollow)
        alone = folds["fold_r2"][own][k]
        if alone is not None:
            axes.plot(max(alone, -1.0), k - 0.28, "v", color="black", markersize=5)
    for marker, size, label in (
        ("o", 4, _("network in one fold")),
        ("|", 14, _("network in all folds with interval")),
        ("s", 5, _("best baselines in all folds")),
        ("v", 5, _("network in the study's own fold")),
    ):
        face = "white" if marker == "s" else "black"
        axes.plot([], [], marker, color="black", markersize=size, markerfacecolor=face, label=label)
    axes.set_yticks(range(len(target_names)), target_names)
    left = max(-1.05, min(axes.dataLim.x0, 0.9) - 0.05)
    axes.set(ylim=(len(target_names) - 0.5, -0.6), xlim=(left, 1.02))
    axes.set(xlabel=_("R² in the test part"), title=_("The folds in their turn"))
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_strips(
    axes: Axes,
    values: Sequence[Sequence[float | None]],
    names: Sequence[str],
    colors: Sequence[str],
) -> None:
    """Draw the values of each name as dots on a line of its own; None is left out."""
    rows = [(name, v) for name, some in zip(names, values, strict=True) for v in some]
    frame = pd.DataFrame(rows, columns=["name", "value"]).dropna().astype({"value": float})
    sns.stripplot(
        frame, x="value", y="name", order=names, hue="name", hue_order=names, ax=axes, orient="h",
        palette=list(colors), size=4, alpha=0.6, jitter=0.08, legend=False,
    )  # fmt: skip
    axes.set_ylabel("")


def _draw_r2(
    axes: Axes, found: TargetMetrics, y: float, color: str, linewidth: float, **marker: Any
) -> None:
    """Draw R² with its interval at height ``y``; what lies below -1 at the edge, as an arrow."""
    low, high = found["r2_interval"]
    if low is not None and high is not None:
        ends = [max(low, -1.0), max(high, -1.0)]
        axes.plot(ends, [y, y], color=color, linewidth=linewidth)
    if found["r2"] is not None:
        shape = {**marker, "marker": "<"} if found["r2"] <= -1 else marker
        axes.plot(max(found["r2"], -1.0), y, color=color, **shape)


@styled
def plot_residuals(
    y_true: NDArray[Any], y_pred: NDArray[Any], names: Sequence[str], units: Sequence[str],
    logarithmic: Collection[int] = (),
) -> Figure:  # fmt: skip
    """Draw prediction minus truth against the truth, one panel per target.

    Of the targets in ``logarithmic`` it is their ratio, on logarithmic axes. The black line joins
    the medians of up to six ranges that hold equally many samples each. Arrays have shape
    (n_samples, n_targets) and are in the targets' units.
    """
    figure, panels = grid(len(names), 3, 2.7)
    for k, (axes, name, unit) in enumerate(zip(panels, names, units, strict=True)):
        known = measured(y_true[:, k])
        truth = y_true[known, k]
        as_ratio = k in logarithmic
        residual = y_pred[known, k] / truth if as_ratio else y_pred[known, k] - truth
        axes.axhline(float(as_ratio), color=GREY, linestyle="--", linewidth=1)
        axes.scatter(truth, residual, s=16, color=target_color(k), alpha=0.75, linewidth=0)
        ranges = np.array_split(np.argsort(truth, kind="stable"), max(1, min(6, len(truth) // 5)))
        if len(ranges) > 1:
            middles = [(np.median(truth[i]), np.median(residual[i])) for i in ranges]
            axes.plot(*np.transpose(middles), color="black", linewidth=1.2, marker=".")
        axes.set(title=name, xlabel=with_unit(_("measured"), unit))
        if as_ratio:
            axes.set_ylabel(_("predicted / measured"))
            log_axes(axes)
            continue
        axes.set_ylabel(with_unit(_("predicted - measured"), unit))
        axes.locator_params(nbins=4)
    return figure


@styled
def plot_domain(parts: Mapping[str, NDArray[np.float64]], names: Mapping[str, str]) -> Figure:
    """Draw T², Q and the nearest neighbour of each part's samples over their limits.

    ``parts`` have them, (n_samples, 3), or (n_samples, 2) of a bundle that knows no neighbours;
    ``names`` are what the parts are called.
    """
    labels = {1: _("Q over its limit: beyond it"), 2: _("nearest neighbour over its limit")}
    known = next(iter(parts.values())).shape[1]
    others = {column: label for column, label in labels.items() if column < known}
    figure, panels = grid(len(others), 2, 3.2)
    for axes, (column, label) in zip(panels, others.items(), strict=True):
        for color, (part, values) in zip((GREY, PALETTE[0]), parts.items(), strict=False):
            x, y = values[:, 0], np.maximum(values[:, column], LEAST_DRAWN)
            axes.scatter(x, y, s=16, color=color, alpha=0.7, linewidth=0, label=names[part])
        for line in (axes.axvline, axes.axhline):
            line(1.0, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel=_("T² over its limit: distance within what varied"), ylabel=label)
        log_axes(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


@styled
def plot_error_correlations(correlations: pd.DataFrame) -> Figure:
    """Draw what ``residuals.error_correlations`` found, a square per two targets."""
    figure = heat_map(correlations.to_numpy(), list(correlations.columns), _("rank correlation"))
    figure.axes[0].set(xlabel=_("true value of"), ylabel=_("size of the error in"))
    return figure


@styled
def plot_sensitivity(
    maps: NDArray[np.float64], names: Sequence[str], channels: Sequence[str],
    axis_names: Sequence[str], positions: Sequence[NDArray[np.float64]],
) -> Figure:  # fmt: skip
    """Draw what ``sensitivity.sensitivity`` found, one panel per target, each on its own scale.

    Maps (n_targets, n_channels, H, W) become images of the mean over the channels; for
    (n_targets, n_channels, L) there is one line per channel, of as many as there are colours those
    that count most. ``positions`` are the values along each axis of the signal.
    """
    # each target on its own scale: (n_targets, n_channels, ...) -> (n_targets, n_channels)
    of_channels = maps.reshape(*maps.shape[:2], -1).mean(axis=2)
    shares = of_channels / np.maximum(of_channels.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    drawn = np.sort(np.argsort(-shares.mean(axis=0), kind="stable")[: len(PALETTE)])
    figure, panels = grid(len(names), 3, 2.7)
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.set(title=name, xlabel=axis_names[-1])
        if maps.ndim == 4:
            image = axes.imshow(
                maps[k].mean(axis=0), aspect="auto", cmap="viridis", vmin=0,
                extent=image_extent(*positions),
            )  # fmt: skip
            axes.grid(visible=False)
            axes.set_ylabel(axis_names[0])
            ticks = FuncFormatter(lambda value, __: f"{value:.2g}")
            figure.colorbar(image, ax=axes, pad=0.02, label=_("sensitivity"), format=ticks)
            continue
        for color, c in zip(PALETTE, drawn, strict=False):
            axes.plot(positions[0], maps[k, c], color=color, linewidth=1.0, label=channels[c])
        axes.set_ylabel(_("sensitivity"))
        axes.set_ylim(bottom=0)
    if maps.ndim == 3:
        handles, labels = panels[0].get_legend_handles_labels()
        some = _("the {n} of {m} channels that count most").format(n=len(drawn), m=len(channels))
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, fontsize=8,
            title=some if len(drawn) < len(channels) else None,
        )  # fmt: skip
    return figure
