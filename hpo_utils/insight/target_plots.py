"""Figures of the trials' accuracy for each target, and of the effect of the loss weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hpo_utils.base.language import _
from hpo_utils.base.style import GREY, PALETTE, WIDTH, grid, styled, target_color

MAX_SIDE_BY_SIDE = 7  # with more targets, their names below an axis are slanted
BELOW: dict[str, Any] = {"color": PALETTE[6], "marker": "v", "linestyle": "", "markersize": 5}
LOWEST = -0.1  # lower R² is drawn here: how bad a bad trial is does not matter


@styled
def plot_trade_off(r2: pd.DataFrame, front: Collection[int], overall: int) -> Figure:
    """Draw one line per trial through its validation R² of each target.

    Trials on the Pareto front are black, the study's best trial is orange, the others are grey. A
    disc in a target's colour marks the best trial for that target.
    """
    figure = Figure(figsize=(WIDTH, 4.6))
    axes = figure.add_subplot()
    positions = np.arange(r2.shape[1])
    for number, row in r2.clip(lower=LOWEST).iterrows():
        style: dict[str, Any]
        if number == overall:
            style = {"color": PALETTE[1], "linewidth": 2.4, "zorder": 4}
        elif number in front:
            style = {"color": PALETTE[6], "linewidth": 1.0, "alpha": 0.75, "zorder": 3}
        else:
            style = {"color": GREY, "linewidth": 0.8, "alpha": 0.45, "zorder": 2}
        axes.plot(positions, row, marker=".", markersize=5, **style)
    for k, target in enumerate(r2.columns):
        if r2[target].notna().any():
            number, height = r2[target].idxmax(), max(float(r2[target].max()), LOWEST)
            axes.plot(k, height, "o", color=target_color(k), markersize=9, zorder=5)
            axes.annotate(
                f"{number}", (k, height), xytext=(0, 9), textcoords="offset points",
                ha="center", fontsize=8, zorder=6,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
    _mark_lower(axes, positions[(r2 < LOWEST).any()])
    n_beaten = len(r2) - len(front)
    labelled: list[tuple[str, dict[str, Any]]] = [
        (_("trial {n}, the study's best").format(n=overall), {"color": PALETTE[1], "lw": 2.4}),
        (_("on the Pareto front ({n})").format(n=len(front)), {"color": PALETTE[6]}),
        (_("beaten by another trial ({n})").format(n=n_beaten), {"color": GREY}),
        (
            _("best for a target, and the number of its trial"),
            {"color": GREY, "marker": "o", "linestyle": ""},
        ),
    ]
    if (r2 < LOWEST).any(axis=None):
        labelled.append((_("some lie below {low}").format(low=f"{LOWEST:g}"), BELOW))
    handles = [Line2D([], [], label=label, **style) for label, style in labelled]
    if len(positions) <= MAX_SIDE_BY_SIDE:
        axes.set_xticks(positions, [_wrapped(name) for name in r2.columns])
    else:
        slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(positions, list(r2.columns), **slanted)
    axes.set(xlim=(-0.4, len(positions) - 0.6), ylabel=_("R² in the validation part"))
    axes.margins(y=0.12)
    axes.set_title(_("What each trial is worth for each target"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@styled
def plot_weight_effects(shares: pd.DataFrame, r2: pd.DataFrame, effects: pd.DataFrame) -> Figure:
    """Draw each target's R² against its share of the loss, one panel per target."""
    figure, panels = grid(shares.shape[1], 3, 2.7)
    for axes, target in zip(panels, shares.columns, strict=True):
        k = list(r2.columns).index(target)
        y = r2.loc[shares.index, target].clip(lower=LOWEST)
        axes.scatter(shares[target], y, s=20, color=target_color(k), alpha=0.8, linewidth=0)
        _mark_lower(axes, shares[target][r2.loc[shares.index, target] < LOWEST])
        axes.axvline(1 / r2.shape[1], color=GREY, linestyle="--", linewidth=1)
        axes.set(title=target, xlabel=_("share of the loss"), ylabel=_("validation R²"))
        if target in effects.index:
            found = effects.loc[target]
            text = f"ρ = {found['rank correlation']:.2f}, p = {found['p']:.2g}"
            axes.set_title(f"{target}\n{text}", fontsize=9)
        axes.locator_params(nbins=4)
    return figure


def _mark_lower(axes: Axes, x: ArrayLike) -> None:
    """Mark the points at ``LOWEST`` whose R² lies below it."""
    axes.plot(x, np.full(np.shape(x), LOWEST), zorder=6, **BELOW)


def _wrapped(name: str) -> str:
    """Return a target's name, on two lines if it is long."""
    first, __, rest = name.partition(" ")
    return f"{first}\n{rest}" if rest and len(name) > 10 else name
