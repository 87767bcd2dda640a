"""First section of ``04_analyze``: what goes home, how well it predicts, and its test report."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from hpo_utils.base.formatting import interval_text, percent, with_units
from hpo_utils.base.language import _
from hpo_utils.base.paths import relative_to_root
from hpo_utils.baselines.take_home import name_at_home
from hpo_utils.report.certificate import certificate_path, write_certificate
from hpo_utils.report.page import Report
from hpo_utils.report.tables import half_width_of
from hpo_utils.report.verdict import SettledStudy, sentence_on_home, when_settled
from hpo_utils.report.winner_sections import predicted_at_home
from hpo_utils.trials.figures import plot_prediction_vs_truth
from hpo_utils.winner.evaluation import Evaluation
from hpo_utils.winner.examination import shares_at_home, verdict_at_home


@when_settled
def show_result(report: Report, settled: SettledStudy) -> None:
    """Show what goes home, its errors in the test part, and its predictions there."""
    report.show(sentence_on_home(settled.examination, settled.evaluation.get("take_home", "auto")))
    report.show(result_table(settled.evaluation))
    report.show(
        plot_at_home(settled),
        _("Prediction of the winner against truth in the test part, one panel per target"),
    )


@when_settled
def show_certificate(report: Report, settled: SettledStudy) -> None:
    """Write the test report of what goes home, and say where it is."""
    name, root = settled.evaluation["study_name"], settled.directory.parents[1]
    path = write_certificate(certificate_path(root, name), settled, plot_at_home(settled))
    said = _("A test report on one page, to print and sign: `{where}`.")
    report.show(said.format(where=relative_to_root(path)))


def plot_at_home(settled: SettledStudy) -> Figure:
    """Draw what goes home predicts of the test part against what was measured."""
    y_true, y_pred = predicted_at_home(settled)
    evaluation, found = settled.evaluation, settled.examination
    errors = found["test"][name_at_home(shares_at_home(found))]
    names, units = evaluation["target_names"], evaluation["target_units"]
    logarithmic = settled.data.target_scaler.logarithmic
    return plot_prediction_vs_truth(y_true, y_pred, names, units, errors, logarithmic)


def result_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per target: error, interval of a prediction, R², verdict, validated range."""
    found, names = evaluation["examination"], evaluation["target_names"]
    errors = found["test"][name_at_home(shares_at_home(found))]
    rows = []
    for k, label in enumerate(with_units(names, evaluation["target_units"])):
        of_target = errors[names[k]]
        row = {_("target"): label, "RMSEP": of_target["rmse"]}
        if found["coverage"] is not None:
            level = percent(found["spread_confidence"])
            row[_("± of a prediction ({level})").format(level=level)] = half_width_of(
                found["coverage"][k]
            )
        row |= {"R²": of_target["r2"], _("interval"): interval_text(of_target["r2_interval"])}
        if "merit" in found:
            reference = found["merit"][names[k]]["reference"]
            row[_("validated range")] = interval_text(reference, ".3g")
        row[_("against the best baseline")] = _(verdict_at_home(found, k))
        rows.append(row)
    return pd.DataFrame(rows).set_index(_("target"))
