"""Figures of what moves together: correlations as coloured squares, targets in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpo_utils.base.language import _
from hpo_utils.base.style import GREY, WIDTH, plain_log_ticks, styled, target_color
from hpo_utils.data.prepared import PreparedData

MAX_NUMBERED = 12  # rows of a heat map
MAX_PAIRED = 8  # targets that are drawn in pairs
MAX_DOTS = 1000  # samples in a panel of a pair


def heat_map(correlations: NDArray[Any], names: Sequence[str], label: str) -> Figure:
    """Draw correlations of shape (n, n) as coloured squares, with numbers where there is room."""
    n = len(names)
    figure = Figure(figsize=(min(WIDTH, 3.6 + 0.75 * n), 2.0 + 0.62 * n))
    axes = figure.add_subplot()
    sns.heatmap(
        pd.DataFrame(correlations, index=names, columns=names),
        ax=axes, vmin=-1, vmax=1, cmap="PuOr_r", square=True, annot=n <= MAX_NUMBERED, fmt="z.2f",
        annot_kws={"fontsize": 9 if n <= 8 else 7}, cbar_kws={"label": label, "shrink": 0.8},
    )  # fmt: skip
    axes.set_xticks(axes.get_xticks(), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    return figure


@styled
def plot_target_correlations(data: PreparedData) -> Figure:
    """Draw the correlation of every two targets over all samples."""
    correlations = pd.DataFrame(data.all_targets()).corr()  # of samples in which both are measured
    return heat_map(correlations.to_numpy(), data.target_names, _("correlation"))


@styled
def plot_target_pairs(data: PreparedData) -> Figure:
    """Draw every two targets against each other, and the distribution of each on the diagonal.

    Of many targets the first ``MAX_PAIRED``, of many samples ``MAX_DOTS`` that are evenly spaced.
    """
    n = min(data.n_targets, MAX_PAIRED)
    values = data.all_targets()
    some = pd.DataFrame(values[:: -(-len(values) // MAX_DOTS), :n])
    logarithmic = data.target_scaler.logarithmic
    figure = Figure(figsize=(WIDTH, WIDTH * (0.16 + 0.84 * n / (n + 1))))
    panels = figure.subplots(n, n, squeeze=False, sharex="col")
    for (row, column), axes in np.ndenumerate(panels):
        if row < column:
            axes.set_axis_off()
        elif row == column:
            sns.histplot(
                x=some[row], ax=axes, color=target_color(row), bins=14, element="step",
                log_scale=row in logarithmic,
            )  # fmt: skip
        else:
            sns.scatterplot(x=some[column], y=some[row], ax=axes, color=GREY, s=9, linewidth=0)
            if row in logarithmic:
                axes.set_yscale("log")
        last, first = row == n - 1, column == 0 and row > 0
        axes.set(
            xlabel=_name(data, column) if last else "", ylabel=_name(data, row) if first else ""
        )
        axes.tick_params(labelleft=first, labelsize=7)
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            if axis.get_scale() == "log":
                plain_log_ticks(axis)
            else:
                axes.locator_params(axis=name, nbins=3)
    return figure


def _name(data: PreparedData, k: int) -> str:
    """Return the name of a target on two lines, with its unit."""
    unit = data.target_units[k]
    return data.target_names[k].replace(" ", "\n", 1) + ("" if unit == "-" else f" [{unit}]")
