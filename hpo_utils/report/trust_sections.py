"""Notebook sections on how far a settled winner can be trusted."""

from __future__ import annotations

from hpo_utils.base.formatting import percent
from hpo_utils.base.language import _
from hpo_utils.baselines.domain import FALSE_ALARMS, Domain, distances
from hpo_utils.bundle.bundle import load_bundle
from hpo_utils.data.split import MIN_UNITS, PART_NAMES
from hpo_utils.insight.winner_plots import plot_domain, plot_folds
from hpo_utils.report.data_tables import tenths_table
from hpo_utils.report.page import Report
from hpo_utils.report.recorded import recorded
from hpo_utils.report.tables import (
    coverage_table,
    folds_table,
    physics_table,
    split_table,
)
from hpo_utils.report.verdict import SettledStudy, described_units, when_settled
from hpo_utils.winner.evaluation import Examination

SEARCHED = "Each fold had a search of its own: no setting was chosen by a sample that it predicts."
NOT_SEARCHED = (
    "The settings were chosen on one fold and taken to the others (`evaluation.other_folds`). Fold"
    " {chose} chose them, and does not test."
)


@when_settled
def show_folds(report: Report, settled: SettledStudy) -> None:
    """Show the joint results of the folds, next to those of the study's own fold."""
    folds = settled.evaluation["all_folds"]
    if isinstance(folds, str):
        report.show(recorded(folds))
        return
    units = described_units(folds["n_samples"], folds["n_groups"], folds["n_units"])
    counts = sorted({len(members) for members in folds["members"]})
    by = _("the mean of {n} trainings")
    if counts == [1]:
        by = _("a training")
    elif len(counts) > 1:  # a seed may have diverged
        by = _("the mean of up to {n} trainings")
    report.show(
        _(
            "{n} samples in {k} of {m} folds, each predicted once, by {by} that never saw it;"
            " intervals of {confidence} from {units}."
        ).format(
            n=folds["n_samples"], k=len(folds["folds"]), m=folds["n_folds"],
            by=by.format(n=counts[-1]), confidence=percent(folds["confidence"]), units=units,
        )
    )  # fmt: skip
    chose = (folds["own"] - 1) % folds["n_folds"]
    report.show(_(SEARCHED if folds["searched"] else NOT_SEARCHED).format(chose=chose))
    if leaking := ", ".join(map(str, folds["leaking"])):
        report.show(
            _(
                "**The held-out parts leak in folds {folds}**: 01 with that `data_split.fold` says"
                " why."
            ).format(folds=leaking)
        )
    report.show(
        plot_folds(folds, settled.evaluation["target_names"]),
        _("R² of the network in the test part of each fold and in all of them"),
    )
    report.show(folds_table(folds))


@when_settled
def show_uncertainty(report: Report, settled: SettledStudy) -> None:
    """Show whether the members' spread predicts the size of the errors."""
    if settled.examination["coverage"] is None:
        report.show(
            _(
                "One network alone does not say how unsure it is (`evaluation.n_seeds`,"
                " `evaluation.ensemble`)."
            )
        )
        return
    report.show(coverage_table(settled.examination, settled.evaluation["target_units"]))
    if sentence_on_all := _on_all_at_once(settled.examination):
        report.show(sentence_on_all)
    for sentence in sentence_on_calibration(settled.examination):
        report.show(sentence)
    wanted, promised = settled.evaluation["confidence"], settled.examination["spread_confidence"]
    if promised < wanted:
        report.show(
            _(
                "The validation part is too small to promise {wanted}: of so few independent"
                " samples, groups or blocks, an interval can promise {promised} at most."
            ).format(wanted=percent(wanted), promised=percent(promised))
        )


@when_settled
def show_domain(report: Report, settled: SettledStudy) -> None:
    """Show how far the test part's inputs lie from those of the training part."""
    data = settled.data
    domain = load_bundle(settled.directory / "bundle").model.domain or Domain.of(data)
    found = {part: distances(domain, data.inputs(part)) for part in ("val", "test")}
    n, n_outside = len(found["test"]), int((found["test"].max(axis=1) > 1).sum())
    report.show(
        plot_domain(found, {part: _(PART_NAMES[part]) for part in found}),
        _("How far the inputs of each sample lie from those of the training part"),
    )
    report.show(
        _(
            "Outside of the domain lie {k} of {n} samples of the test part, {share}; of samples"
            " like the training part {promised} do. There the intervals of predictions are wider."
        ).format(
            k=n_outside, n=n, share=percent(n_outside / n), promised=percent(FALSE_ALARMS)
        )
    )  # fmt: skip
    report.show(
        _(
            "How many samples of the training part lie in each tenth of a target's range; where"
            " there are few, a prediction is hardly more than an extrapolation:"
        )
    )
    report.show(tenths_table(data))


def _on_all_at_once(found: Examination) -> str | None:
    """Return a sentence on the intervals that hold for all targets of a sample at once."""
    held, intervals = found.get("joint_coverage"), found["intervals"] or {}
    factors = intervals.get("factors", [])
    if held is None or len(found["validation"]) == 1:
        return None
    return _(
        "All targets of a sample at once lie within intervals about {factor} times as wide"
        " (`predict --joint`): in the test part for {held}, promised {promised}."
    ).format(
        factor=f"{intervals['joint'] / (sum(factors) / len(factors)):.2f}", held=f"{held:.0%}",
        promised=percent(found["spread_confidence"]),
    )  # fmt: skip


def sentence_on_calibration(found: Examination) -> list[str]:
    """Return the reasons why the intervals, or their coverage, are not informative."""
    said = []
    if found.get("n_val_units", MIN_UNITS) < MIN_UNITS:
        said.append(
            _(
                "The intervals were calibrated on {n} independent samples, groups or blocks: of so"
                " few their width is mostly chance."
            ).format(n=found["n_val_units"])
        )
    if found["n_test_units"] < MIN_UNITS:
        said.append(_("The test part is too small to tell whether they hold what they promise."))
    constant = found.get("constant", {})
    for part in ("val", "test"):
        if names := ", ".join(constant.get(part, [])):
            said.append(
                _(
                    "{names} does not vary in the {part} part: of one value alone nothing follows"
                    " for others."
                ).format(names=names, part=_(PART_NAMES[part]))
            )
    return said


@when_settled
def show_physics(report: Report, settled: SettledStudy) -> None:
    """Show how often each model violates the known physics of the targets."""
    evaluation = settled.evaluation
    if not settled.data.physics:
        report.show(
            _("Nothing is known of these targets (`dataset.fractions`, `dataset.non_negative`).")
        )
        return
    report.show(physics_table(evaluation))
    without = evaluation["without_physics"]
    if without is not None:
        constrained, free = (
            sum(without[key]) / len(without[key]) for key in ("constrained_scores", "scores")
        )
        report.show(
            _(
                "The winner scores {constrained} with its constraints and {free} without them"
                " (means over the same {n} seeds)."
            ).format(constrained=f"{constrained:.4f}", free=f"{free:.4f}", n=len(without["scores"]))
        )


@when_settled
def show_split(report: Report, settled: SettledStudy) -> None:
    """Show what a split that ignores the groups would have promised."""
    evaluation = settled.evaluation
    compared = evaluation["random_split"]
    if "why_not" in compared:
        report.show(_(compared["why_not"]))
        return
    report.show(split_table(compared))
    said = _("The same configuration on the same samples, dealt out anew at random.")
    as_split, at_random = (compared[split]["scores"] for split in ("as_split", "at_random"))
    if max(at_random) < min(as_split):
        said += " " + _(
            "Every training scores better there. Where that is more than the luck of another"
            " validation part, it is memory of the recordings, and is gone with the next recording."
        )
    else:
        said += " " + _("A random split is not shown to promise more here.")
    report.show(said)
