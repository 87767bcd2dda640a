"""The figures of one training, drawn from the files that it saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hpo_utils.base.formatting import number_text
from hpo_utils.base.language import ENGLISH, _, language
from hpo_utils.base.style import (
    GREY,
    PALETTE,
    fixed_grid,
    log_axes,
    plain_log_ticks,
    save_figure,
    styled,
    target_color,
    with_unit,
)
from hpo_utils.scores.metrics import measured
from hpo_utils.training.directory import SCATTER_FILE, read_predictions

CURVES_FILE = Path("learning_curves.png")
MANY = 9  # targets, beyond which panels are small


@language(ENGLISH)
def draw_figures(output_dir: Path, metrics: dict[str, Any]) -> None:
    """Draw the figures of a finished training into its directory, unless they exist.

    They are English, like all files of a training. ``metrics`` is the content of the training's
    ``metrics.json``.

    Raises
    ------
    StudyError
        If the saved predictions cannot be read.
    """
    if not (output_dir / CURVES_FILE).is_file():
        curves = plot_learning_curves(metrics, metrics["best_epoch"])
        save_figure(output_dir / CURVES_FILE, curves)
    if not (output_dir / SCATTER_FILE).is_file():
        truth, prediction = (read_predictions(output_dir / f"y_{w}.npy") for w in ("true", "pred"))
        units, errors = metrics["target_units"], metrics[f"{metrics['part']}_targets"]
        scatter = plot_prediction_vs_truth(
            truth, prediction, list(units), list(units.values()), errors,
            metrics.get("logarithmic", ()),
        )  # fmt: skip
        save_figure(output_dir / SCATTER_FILE, scatter)


@styled
def plot_learning_curves(history: Mapping[str, Any], best_epoch: int) -> Figure:
    """Plot a training's losses and score over its epochs, and mark the epoch that is kept.

    ``history`` has one value per epoch in ``train_losses``, ``val_losses`` (the training's own
    loss, scaled by its loss weights) and ``scores`` (of the validation part).
    """
    figure, (loss, score) = fixed_grid(2, 2, 3.2)
    epochs = np.arange(1, len(history["scores"]) + 1)
    loss.plot(epochs, history["train_losses"], color=PALETTE[0], label=_("training"))
    loss.plot(epochs, history["val_losses"], color=PALETTE[1], label=_("validation"))
    loss.set(title=_("Loss of the training"), xlabel=_("epoch"), ylabel=_("loss"), yscale="log")
    loss.legend()
    score.plot(epochs, history["scores"], color=PALETTE[2])
    best = history["score"] if best_epoch == 0 else history["scores"][best_epoch - 1]
    score.axvline(best_epoch, color=GREY, linestyle="--", linewidth=1)
    score.plot(
        best_epoch, best, "o", color=PALETTE[2],
        label=_("kept: epoch {n}, {score}").format(
            n=best_epoch, score=f"{best:.3g}"
        ),
    )  # fmt: skip
    score.set(
        title=_("Validation score"), xlabel=_("epoch"), ylabel=_("score (lower is better)"),
        yscale="log",
    )  # fmt: skip
    score.legend()
    for axes in (loss, score):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_log_ticks(axes.yaxis)
    return figure


@styled
def plot_prediction_vs_truth(
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    names: Sequence[str],
    units: Sequence[str],
    metrics: dict[str, dict[str, float | None]],
    logarithmic: Collection[int] = (),
) -> Figure:
    """Scatter prediction against truth, one panel per target, with R², RMSE and MAE.

    Arrays have shape (n_samples, n_targets) and are in the targets' units. Many targets have small
    panels, without room for the numbers. Axes of the targets in ``logarithmic`` are so.
    """
    many = len(names) > MANY
    figure, panels = fixed_grid(len(names), *((4, 2.5) if many else (3, 3.2)))
    for k, (axes, name, unit) in enumerate(zip(panels, names, units, strict=True)):
        known = measured(y_true[:, k])
        truth, prediction = y_true[known, k], y_pred[known, k]
        limits = _limits(np.concatenate([truth, prediction]), k in logarithmic)
        axes.plot(limits, limits, color=GREY, linewidth=1, linestyle="--")
        axes.scatter(
            truth, prediction, s=8 if many else 16, color=target_color(k), alpha=0.75, linewidth=0
        )
        axes.set(xlim=limits, ylim=limits, title=name)
        if k in logarithmic:
            log_axes(axes)
        else:
            axes.locator_params(nbins=3 if many else 4)
        axes.set_aspect("equal")
        axes.set_xlabel(with_unit(_("measured"), unit))
        axes.set_ylabel(with_unit(_("predicted"), unit))
        if many:
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
            for label in (axes.xaxis.label, axes.yaxis.label):
                label.set_fontsize(8)
            continue
        found = metrics[name]
        r2 = _("not defined") if found["r2"] is None else f"{found['r2']:.3f}"
        suffix = "" if unit == "-" else f" {unit}"
        rmse, mae = (number_text(found[name], ".3g") for name in ("rmse", "mae"))
        text = f"R² {r2}\nRMSE {rmse}{suffix}\nMAE {mae}{suffix}"
        axes.text(
            0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8.5,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2},
        )  # fmt: skip
    return figure


def _limits(values: NDArray[Any], logarithmic: bool) -> tuple[float, float]:
    """Return the limits of an axis that holds all values; a logarithmic one those above zero."""
    if logarithmic:
        low, high = _limits(np.log(values[values > 0]), False)
        return float(np.exp(low)), float(np.exp(high))
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low or 1.0)
    return low - margin, high + margin
