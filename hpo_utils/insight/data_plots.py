"""Figures of the data: distributions, correlations, samples."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.signal import welch

from hpo_utils.base.formatting import significant
from hpo_utils.base.language import _
from hpo_utils.base.style import (
    GREY,
    PALETTE,
    grid,
    image_extent,
    plain_log_ticks,
    styled,
    target_color,
    with_unit,
)
from hpo_utils.data.features import FLOOR
from hpo_utils.data.labels import axis_positions
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.split import PARTS
from hpo_utils.scores.metrics import measured

N_SHOWN = 3  # samples
MAX_DRAWN = 8  # that are drawn below each other
MAX_CROSSINGS = 60  # of the mean, that can be told apart in a panel
MAX_SEGMENT = 1024  # values of which a spectrum is averaged
FREQUENCIES = {"s": "frequency [Hz]", "ms": "frequency [kHz]"}  # by unit of time
PART_STYLES: dict[str, dict[str, Any]] = {
    "train": {"fill": True, "alpha": 0.35, "linewidth": 0},
    "val": {"fill": False, "linestyle": "-", "linewidth": 1.4},
    "test": {"fill": False, "linestyle": ":", "linewidth": 1.8},
}


@styled
def plot_target_histograms(data: PreparedData) -> Figure:
    """Draw each target's distribution: the training part filled, the others as outlines."""
    figure, panels = grid(data.n_targets, 3, 2.5)
    targets = {part: data.targets(part) for part in PARTS}
    for k, (axes, name, unit) in enumerate(
        zip(panels, data.target_names, data.target_units, strict=True)
    ):
        values = np.concatenate([t[:, k] for t in targets.values()])
        known, logarithmic = values[measured(values)], k in data.target_scaler.logarithmic
        bins = np.histogram_bin_edges(np.log10(known) if logarithmic else known, 14)
        for part, t in targets.items():
            sns.histplot(
                x=t[:, k], ax=axes, color=target_color(k), element="step", stat="density",
                bins=bins.tolist(), log_scale=logarithmic, **PART_STYLES[part],
            )  # fmt: skip
        if logarithmic:
            plain_log_ticks(axes.xaxis)
        axes.set(title=name, xlabel=with_unit(_("value"), unit), ylabel=_("density"))
    handles = [
        Patch(
            facecolor=GREY if style.get("alpha") else "none", edgecolor=GREY,
            alpha=style.get("alpha"), linestyle=style.get("linestyle", "-"),
            label=_("{part}: {n} samples").format(part=_(part), n=len(targets[part])),
        )
        for part, style in PART_STYLES.items()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@styled
def plot_samples(data: PreparedData, target: int) -> Figure:
    """Draw ``N_SHOWN`` training samples from the lowest to the highest value of a target.

    One row per channel: images of (n_channels, H, W), lines of (n_channels, L).
    """
    values = data.targets("train")[:, target]
    ranks = np.linspace(0, measured(values).sum() - 1, N_SHOWN).round().astype(int)
    chosen = np.argsort(values, kind="stable")[ranks]
    unit = data.target_units[target].strip("-")
    titles = [
        f"{data.target_names[target]} {significant(values[i])} {unit}".rstrip() for i in chosen
    ]
    return plot_inputs(data, "train", chosen, titles)


@styled
def plot_inputs(
    data: PreparedData, part: str, samples: NDArray[np.int64], titles: list[str]
) -> Figure:
    """Draw the standardised inputs of some samples of a part, under their titles.

    Of many channels the first ``MAX_DRAWN``.
    """
    inputs, channels = data.inputs(part), data.used_channels
    x = np.stack([inputs[i][:MAX_DRAWN] for i in samples])
    draw = _draw_images if x.ndim == 4 else _draw_lines
    positions = axis_positions(data.manifest)
    figure = draw(x, titles, channels[:MAX_DRAWN], data.manifest["axis_names"], positions)
    if len(channels) > MAX_DRAWN:
        said = _("the first {n} of {m} channels").format(n=MAX_DRAWN, m=len(channels))
        figure.suptitle(said, fontsize=10, x=0.01, ha="left")
    return figure


def _draw_images(
    x: NDArray[Any], titles: list[str], channels: list[str], axis_names: list[str],
    positions: list[NDArray[np.float64]],
) -> Figure:  # fmt: skip
    """Draw samples (n_samples, n_channels, H, W), one column each, one row per channel."""
    n = len(x)
    figure, panels = grid(n * len(channels), n, 2.4)
    limit = float(np.percentile(np.abs(x), 99.5))
    for i, axes in enumerate(panels):
        channel, sample = divmod(i, n)
        image = axes.imshow(
            x[sample, channel], aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit,
            extent=image_extent(*positions),
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set_title(f"{titles[sample]}\n{channels[channel]}", fontsize=9)
        axes.set(xlabel=axis_names[1], ylabel=axis_names[0])
    figure.colorbar(image, ax=panels, label=_("standardised amplitude"), shrink=0.7)
    return figure


def _draw_lines(
    x: NDArray[Any], titles: list[str], channels: list[str], axis_names: list[str],
    positions: list[NDArray[np.float64]],
) -> Figure:  # fmt: skip
    """Draw samples (n_samples, n_channels, L), one column each, one row per channel.

    Where a signal oscillates too fast for that, a second row per channel shows the spectra.
    """
    n, n_channels = x.shape[:2]
    kinds = (_draw_values, _draw_spectrum) if _oscillates(x) else (_draw_values,)
    figure, panels = grid(n * n_channels * len(kinds), n, 1.9)
    for i, axes in enumerate(panels):
        row, sample = divmod(i, n)
        channel, kind = divmod(row, len(kinds))
        kinds[kind](axes, positions[0], x[sample, channel], axis_names[0])
        axes.set_title(f"{titles[sample]}\n{channels[channel]}", fontsize=9)
        axes.sharey(panels[i - sample])
        if sample > 0:
            axes.set_ylabel("")
    return figure


def _oscillates(x: NDArray[Any]) -> bool:
    """Return whether a signal of (n_samples, n_channels, L) goes up and down too often to see."""
    crossings = np.diff(np.signbit(x - x.mean(axis=-1, keepdims=True)), axis=-1).sum(axis=-1)
    return bool(crossings.max() > MAX_CROSSINGS)


def _draw_values(
    axes: Axes, positions: NDArray[np.float64], values: NDArray[Any], axis_name: str
) -> None:
    axes.plot(positions, values, color=PALETTE[0], linewidth=0.8)
    axes.set(xlabel=axis_name, ylabel=_("standardised"))


def _draw_spectrum(
    axes: Axes, positions: NDArray[np.float64], values: NDArray[Any], axis_name: str
) -> None:
    """Draw the power spectral density by Welch's method, without the mean."""
    rate = 1 / abs(positions[1] - positions[0])
    frequency, density = welch(values, rate, nperseg=min(len(values), MAX_SEGMENT))
    axes.loglog(frequency[1:], density[1:] + FLOOR, color=PALETTE[1], linewidth=0.8)
    unit = re.search(r"[\[(](.+)[\])]", axis_name)  # the "ms" of "time [ms]"
    name = unit[1] if unit else axis_name
    label = _(FREQUENCIES[name]) if name in FREQUENCIES else _("periods per {unit}")
    axes.set(xlabel=label.format(unit=name), ylabel=_("power density"))
