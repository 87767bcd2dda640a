"""Figures of a settled winner: the race over fresh seeds, and what the test part says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpo_utils.plots import GREY, PALETTE, grid, styled, target_color

MARKERS = ("o", "s", "^", "D")  # of the network and the baselines


@styled
def plot_race(contenders: Sequence[Mapping[str, Any]], score_name: str) -> Figure:
    """Draw each contender's score in the study, its scores on fresh seeds, mean and interval."""
    figure, (axes,) = grid(1, 1, 1.4 + 0.45 * len(contenders))
    for y, row in enumerate(contenders):
        color = PALETTE[1] if y == 0 else GREY if row["beaten"] else PALETTE[0]
        scores = [score for score in row["scores"] if score is not None]
        axes.plot(scores, [y] * len(scores), "o", color=color, markersize=4, alpha=0.6)
        if row["mean"] is not None:
            axes.plot(row["mean"], y, "|", color=color, markersize=16, markeredgewidth=2.5)
        low, high = row["interval"]
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=color, linewidth=1.5)
        if row["study_score"] is not None:
            axes.plot(row["study_score"], y - 0.28, "v", color="black", markersize=5)
    for marker, label in (("o", "a fresh seed"), ("|", "their mean, with interval")):
        axes.plot([], [], marker, color=PALETTE[0], markeredgewidth=2, label=label)
    axes.plot([], [], "v", color="black", label="score in the study")
    names = [row["name"] + (" (given up)" if row["beaten"] else "") for row in contenders]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.6), xlabel=f"{score_name} (lower is better)")
    axes.set_title("Trained again with fresh seeds")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def plot_test_intervals(
    test: Mapping[str, Mapping[str, Mapping[str, Any]]], target_names: Sequence[str]
) -> Figure:
    """Draw R² with its interval for each target and model: filled the network, hollow the others.

    What lies below -1 is drawn at the edge, as an arrow.
    """
    figure, (axes,) = grid(1, 1, 1.6 + 0.62 * len(target_names))
    models = list(test)
    offsets = np.linspace(-0.28, 0.28, len(models))
    for j, (model, offset) in enumerate(zip(models, offsets, strict=True)):
        for k, name in enumerate(target_names):
            found, y = test[model][name], k + offset
            if found["r2"] is None:
                continue
            low, high = found["r2_interval"]
            if low is not None and high is not None:
                ends = [max(low, -1.0), max(high, -1.0)]
                axes.plot(ends, [y, y], color=target_color(k), linewidth=2.4 if j == 0 else 1.0)
            face = target_color(k) if j == 0 else "white"
            marker = MARKERS[j % len(MARKERS)] if found["r2"] > -1 else "<"
            axes.plot(
                max(found["r2"], -1.0), y, marker, color=target_color(k), markerfacecolor=face,
                markersize=7 if j == 0 else 5,
            )  # fmt: skip
    for j, model in enumerate(models):
        face = "black" if j == 0 else "white"
        axes.plot([], [], MARKERS[j % len(MARKERS)], color="black", markerfacecolor=face,
                  label=model)  # fmt: skip
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(target_names)), target_names)
    axes.set(ylim=(len(target_names) - 0.5, -0.5), xlim=(-1.05, 1.05), xlabel="R² in the test part")
    axes.set_title("What the test part says")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
