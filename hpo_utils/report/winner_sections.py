"""Sections of ``04_analyze`` on the winner's errors and on what it responds to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hpo_utils.base.language import _
from hpo_utils.base.style import with_unit
from hpo_utils.baselines.domain import leverages
from hpo_utils.baselines.fitted import fit_baselines
from hpo_utils.baselines.take_home import mixed, name_at_home
from hpo_utils.bundle.bundle import Bundle, load_bundle, predict_standardised
from hpo_utils.data.labels import axis_positions
from hpo_utils.data.prepared import PreparedData, input_scaler
from hpo_utils.insight.data_plots import plot_inputs
from hpo_utils.insight.input_noise import N_SAMPLES as N_NOISY
from hpo_utils.insight.input_noise import detection_limits, noise_of_predictions
from hpo_utils.insight.residuals import error_correlations, errors_by_group, worst_samples
from hpo_utils.insight.sensitivity import N_SAMPLES, channel_losses, sensitivity
from hpo_utils.insight.winner_plots import plot_error_correlations, plot_residuals, plot_sensitivity
from hpo_utils.network.models import evaluation_batch
from hpo_utils.report.merit_table import merit_table, uncertainty_table
from hpo_utils.report.page import Report
from hpo_utils.report.tables import metrics_table, worst_table
from hpo_utils.report.verdict import SettledStudy, when_settled
from hpo_utils.scores.skill import NETWORK
from hpo_utils.scores.spread import spread_of
from hpo_utils.winner.examination import shares_at_home
from hpo_utils.winner.settle import load_predictions

N_WORST = 3  # number of samples shown
N_GROUPS = 10
MAX_CHANNELS, N_DEALT_OUT = 32, 256  # more channels or samples take too long
MAX_VALUES = 2**26  # input values analysed together: 256 MB


@when_settled
def show_errors(report: Report, settled: SettledStudy) -> None:
    """Show the errors of the winner's predictions of the test part, target by target."""
    found = settled.examination
    errors = found["test"][name_at_home(shares_at_home(found))]
    names, units = settled.evaluation["target_names"], settled.evaluation["target_units"]
    over = {
        name: (baseline, found["test"][baseline][name]["mse"])
        for name, baseline in zip(names, found["best_baseline"], strict=True)
    }
    by_name = dict(zip(names, units, strict=True))
    report.show(metrics_table(errors, by_name, over))
    if "merit" in found:  # since version 0.3
        report.show(_("Figures of merit on the test part, as ISO 12099 defines them:"))
        report.show(merit_table(found["merit"], by_name))
        _show_budget(report, settled, by_name)


def _show_budget(report: Report, settled: SettledStudy, units: dict[str, str]) -> None:
    """Show what the error of a prediction is made of, as far as reference and noise are known."""
    merits = settled.examination["merit"]
    has_reference = any(merit.get("repeatability") is not None for merit in merits.values())
    noise = settled.data.manifest.get("input_noise")
    if not has_reference:
        report.show(
            _(
                "The reference counts as exact: `dataset.target_repeatability`, a standard"
                " deviation for each target, says which part of the error is its own."
            )
        )
    if noise is None:
        report.show(
            _(
                "The inputs count as exact: `dataset.input_noise`, a standard deviation for each"
                " channel, says what their noise does to the predictions."
            )
        )
    if not has_reference and noise is None:
        return
    if has_reference:
        report.show(
            _(
                "The RMSEP holds the scatter of the reference, too. Without it remains the model's"
                " own error; U is twice that, or twice the RMSEP where the scatter is not known. A"
                " dash: the reference scatters by more than the RMSEP, so that this test cannot"
                " show the error of the model."
            )
        )
    members = load_predictions(settled.directory)["test"]
    share = np.array(shares_at_home(settled.examination).get(NETWORK, 0.0))
    spread = share * np.sqrt((spread_of(members) ** 2).mean(axis=0))
    by_target = dict(zip(units, spread.tolist(), strict=True))
    passed_on = None if noise is None else _through_the_model(settled, noise)
    report.show(uncertainty_table(merits, by_target, units, passed_on))
    if passed_on is not None:
        report.show(
            _(
                "The inputs' noise alone scatters a prediction by what its column says. A value"
                " below the limit of detection, shown for targets without negative values, cannot"
                " be told from zero; the model's other errors come on top."
            )
        )


def _through_the_model(
    settled: SettledStudy, noise: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """Return what the inputs' noise does to each target, and its limit of detection."""
    data, bundle = settled.data, load_bundle(settled.directory / "bundle")
    used = np.array(noise)[data.manifest["channels"]] / input_scaler(data.manifest).std
    rows = _spread_out(data, "test", 1, N_NOISY)
    x = torch.from_numpy(np.ascontiguousarray(data.inputs("test")[rows]))

    def predicted(z: torch.Tensor) -> torch.Tensor:
        return predict_standardised(bundle, z)[0]

    found = noise_of_predictions(predicted, x, used)
    domain, n_train = bundle.model.domain, data.manifest["n_samples"]["train"]
    leverage = np.zeros(len(x)) if domain is None else leverages(domain, x.numpy(), n_train)
    known = data.manifest.get("target_repeatability") or [None] * data.n_targets
    reference = np.array([each or 0.0 for each in known])
    limits = detection_limits(found, predicted(x).numpy().astype(np.float64), leverage, reference)
    scatter = np.sqrt((found**2).mean(axis=0))
    pairs = zip(scatter.tolist(), limits.tolist(), strict=True)
    return dict(zip(data.target_names, pairs, strict=True))


@when_settled
def show_residuals(report: Report, settled: SettledStudy) -> None:
    """Show the errors against the true values, and the conditions under which they grow."""
    y_true, y_pred = predicted_at_home(settled)
    names, units = settled.evaluation["target_names"], settled.evaluation["target_units"]
    report.show(
        plot_residuals(y_true, y_pred, names, units, settled.data.target_scaler.logarithmic),
        _("Errors against truth in the test part, one panel per target"),
    )
    if len(names) > 1:
        report.show(
            plot_error_correlations(error_correlations(y_true, y_pred, names)),
            _("Rank correlation of the size of each target's error with each true value"),
        )


@when_settled
def show_worst(report: Report, settled: SettledStudy) -> None:
    """Show the signals of the worst predicted samples, and the worst predicted groups."""
    data = settled.data
    y_true, y_pred = predicted_at_home(settled)
    scaler = data.target_scaler
    std, on_scale = scaler.std, (scaler.on_scale(y_true), scaler.on_scale(y_pred))
    worst = worst_samples(*on_scale, std, N_WORST)
    numbers = data.sample_numbers("test")[worst]
    targets = [with_unit(*pair) for pair in zip(data.target_names, data.target_units, strict=True)]
    report.show(worst_table(numbers, y_true[worst], y_pred[worst], targets))
    report.show(
        plot_inputs(data, "test", worst, [_("sample {n}").format(n=n) for n in numbers]),
        _("Signals of the worst predicted samples of the test part"),
    )
    groups = data.groups("test")
    if groups is not None:
        table = errors_by_group(*on_scale, groups, data.target_names, std)
        report.show(
            _("RMSE of each group in standard deviations, the worst {k} of {n} groups:").format(
                k=min(N_GROUPS, len(table)), n=len(table)
            )
        )
        report.show(table.head(N_GROUPS).rename(index=data.group_names))


@when_settled
def show_sensitivity(report: Report, settled: SettledStudy) -> None:
    """Show how much each place of the signal changes each prediction, and which channels matter."""
    data, names = settled.data, settled.data.target_names
    bundle = load_bundle(settled.directory / "bundle")
    step, channels = bundle.layout.downsample_factor, data.used_channels
    members = list(bundle.model.members)
    if not members:
        report.show(_("No network goes home, so there is none to look into."))
        return
    x = _inputs(data, bundle, _spread_out(data, "val", step, N_SAMPLES))
    axis_names = data.manifest["axis_names"]
    report.show(
        plot_sensitivity(
            sensitivity(members, x), names, channels, axis_names,
            axis_positions(data.manifest, step),
        ),
        _("Sensitivity of each target's prediction to each place of the signal"),
    )  # fmt: skip
    if 1 < len(channels) <= MAX_CHANNELS:
        rows = _spread_out(data, "val", step, N_DEALT_OUT)
        x = _inputs(data, bundle, rows)
        z = torch.from_numpy(data.target_scaler.transform(data.targets("val")[rows]))
        lost = channel_losses(members, x, z, evaluation_batch(bundle.cfg, x))
        report.show(
            _("R² lost in the validation part when a channel is exchanged between samples:")
        )
        report.show(pd.DataFrame(lost, index=names, columns=channels).map("{:.3f}".format))


def _spread_out(data: PreparedData, part: str, step: int, most: int) -> NDArray[np.int64]:
    """Return rows spread evenly over a part, limited by ``most`` and by memory."""
    n_samples, *shape = data.input_shape(part, step)
    n_rows = min(most, n_samples, max(2, MAX_VALUES // math.prod(shape)))
    return np.linspace(0, n_samples - 1, n_rows).astype(np.int64)


def _inputs(data: PreparedData, bundle: Bundle, rows: NDArray[np.int64]) -> torch.Tensor:
    """Return what the networks take of validation rows, (n_rows, n_channels, ...)."""
    x = torch.from_numpy(np.ascontiguousarray(data.inputs("val")[rows]))
    return bundle.model.models.thinned(x)


def predicted_at_home(settled: SettledStudy) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return true values of the test part and predictions of what goes home, in units.

    Each has shape (n_samples, n_targets).
    """
    predictions = load_predictions(settled.directory)
    shares, others = shares_at_home(settled.examination), {}
    if list(shares) != [NETWORK]:
        others = {each.name: each.test_pred for each in fit_baselines(settled.judged)}
    y_pred = mixed(shares, predictions["test"], others, settled.data.physics).mean(axis=0)
    return predictions["test_true"], y_pred
