"""Notebook sections on the prepared data: parts of the split, leakage, targets."""

from __future__ import annotations

import numpy as np

from hpo_utils.base.language import _
from hpo_utils.data.audit import FINE, LEAK, audit_leakage
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.split import MIN_UNITS, PART_NAMES, PARTS
from hpo_utils.insight.correlations import plot_target_correlations, plot_target_pairs
from hpo_utils.insight.data_plots import plot_samples, plot_target_histograms
from hpo_utils.report.data_tables import audit_table, measured_table, parts_table
from hpo_utils.report.page import Report
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.metrics import measured, varies

# of a target's variance; a tenth of normal values makes up less than half, one of exponential
# values 63 %
MOST = 0.75


def show_parts(report: Report, data: PreparedData) -> None:
    """Show the parts of the split, and warn of parts that are too small or do not vary."""
    report.show(parts_table(data))
    if "split" in data.manifest["settings"]["dataset"]:
        report.show(_("The parts are those that came with the data (`dataset.split`)."))
    if not all(measured(data.targets(part)).all() for part in PARTS):
        report.show(
            _(
                "Not every target was measured in every sample. Each is learnt, scored and judged"
                " by those in which it was:"
            )
        )
        report.show(measured_table(data))
    if (weights := data.weights("train")) is not None:
        report.show(
            _(
                "Samples count by their weights (`dataset.weights`) in what is learnt and in what"
                " is chosen: the training part as much as {n:.0f} samples that count alike. Errors"
                " and intervals of the report count every sample once."
            ).format(n=weights.sum() ** 2 / (weights**2).sum())
        )
    for part in ("val", "test"):
        n_units = count_units(data.manifest["n_samples"][part], data.independent_units(part))
        if n_units < MIN_UNITS:
            groups, n_samples = data.groups(part), data.manifest["n_samples"][part]
            counted = sentence_on_units(
                n_samples, None if groups is None else len(np.unique(groups)), n_units
            )
            report.show(
                _(
                    "**The {part} part is too small: {counted}**. Fewer than {least} give no"
                    " interval, and what it says of a model is mostly chance."
                ).format(part=_(PART_NAMES[part]), counted=counted, least=MIN_UNITS)
            )
        known = varies(data.targets(part))
        for name in (n for n, each in zip(data.target_names, known, strict=True) if not each):
            report.show(
                _(
                    "**{name} does not vary in the {part} part**, so no score or interval from"
                    " there says anything of it: use another split, or more samples."
                ).format(name=name, part=_(PART_NAMES[part]))
            )


def sentence_on_units(n_samples: int, n_groups: int | None, n_units: int) -> str:
    """Return the number of samples, groups or blocks of neighbours, whichever are independent."""
    if n_groups is not None:
        return sentence_on_groups(n_groups, n_units)
    if n_units < n_samples:
        return _("{n} blocks of neighbours").format(n=n_units)
    return _("{n} samples").format(n=n_units)


def sentence_on_groups(n_groups: int, n_units: int) -> str:
    """Return the number of groups, and their effective number if their sizes differ much."""
    if n_groups == 1:
        return _("1 group")
    if n_groups == n_units:
        return _("{n} groups").format(n=n_groups)
    said = _("{n} groups (effectively {m}, because their sizes differ)")
    return said.format(n=n_groups, m=n_units)


def show_audit(report: Report, data: PreparedData) -> None:
    """Show the findings of the leakage audit."""
    show_leaks(report, data)
    report.show(audit_table(audit_leakage(data)))


def show_leaks(report: Report, data: PreparedData) -> None:
    """Say in one sentence whether the audit found a leak."""
    findings = audit_leakage(data)
    leaks = [finding for finding in findings if finding.verdict == LEAK]
    if leaks:
        what = "; ".join(f"{_(leak.check)}: {leak.text}" for leak in leaks)
        said = _("**The held-out parts leak**, so every score here is flattered: {what}.")
        report.show(said.format(what=what))
    elif names := ", ".join(_(f.check) for f in findings if f.verdict != FINE):
        said = _("The leakage audit found no leak, {names} deserve a look.")
        report.show(said.format(names=names))
    else:
        report.show(_("The leakage audit found no leak."))


def sentence_on_decades(data: PreparedData) -> str | None:
    """Name the positive targets whose variance is mostly that of a tenth of the samples."""
    y, found = data.targets("train"), []
    for k, name in enumerate(data.target_names):
        known = y[measured(y[:, k]), k].astype(np.float64)
        squares = np.sort((known - known.mean()) ** 2)
        share = squares[-max(1, len(squares) // 10) :].sum() / squares.sum()
        if share > MOST and known.min() > 0 and k not in data.target_scaler.logarithmic:
            found.append(name)
    if not found:
        return None
    return _(
        "In {names} a tenth of the samples makes up most of the variance, so that errors of the"
        " others hardly count: `dataset.logarithmic` learns and compares the logarithm."
    ).format(names=", ".join(found))


def show_distributions(report: Report, data: PreparedData) -> None:
    """Show the distribution of each target in each part."""
    report.show(
        plot_target_histograms(data), _("Distribution of each target in each part of the split")
    )
    if sentence := sentence_on_decades(data):
        report.show(sentence)


def show_samples(report: Report, data: PreparedData) -> None:
    """Show a few training samples as the network gets them."""
    report.show(plot_samples(data, target=0), _("Standardised inputs of three samples"))


def show_correlations(report: Report, data: PreparedData) -> None:
    """Show how the targets correlate, if there are several."""
    if data.n_targets > 1:
        report.show(plot_target_pairs(data), _("Every two targets against each other"))
        report.show(plot_target_correlations(data), _("Correlation of every two targets"))
