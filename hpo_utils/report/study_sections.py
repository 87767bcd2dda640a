"""Notebook sections on a study or a training: figures and tables, or why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo_utils.base.config import Config, read_saved_config
from hpo_utils.base.formatting import clock, short_name
from hpo_utils.base.language import _
from hpo_utils.base.paths import relative_to_root, resolve
from hpo_utils.baselines.fitted import best_baselines, fit_baselines
from hpo_utils.data.prepared import as_given_id, load_prepared
from hpo_utils.data.split import PART_NAMES
from hpo_utils.insight.importances import (
    MIN_TRIALS_FOR_INTERACTION,
    interactions,
    parameter_importances,
)
from hpo_utils.insight.study_plots import (
    plot_importances,
    plot_optimization_history,
    plot_pairs,
    plot_parallel_coordinates,
    plot_slices,
    plot_timeline,
    plot_trial_learning_curves,
)
from hpo_utils.insight.target_plots import plot_trade_off, plot_weight_effects
from hpo_utils.insight.trade_offs import (
    best_per_target,
    overall_best,
    pareto_front,
    validation_r2,
    weight_effects,
    weight_shares,
)
from hpo_utils.report.page import Report, report_path
from hpo_utils.report.recorded import score_name
from hpo_utils.report.tables import (
    effort_table,
    endings_table,
    metrics_table,
    seconds_saved,
    trials_table,
    with_effort,
)
from hpo_utils.study.search import differs_from
from hpo_utils.training.directory import (
    damaged,
    find_trial_output_dir,
    has_directory,
    read_metrics,
    read_predictions,
    read_trial_info,
)
from hpo_utils.trials.figures import plot_learning_curves, plot_prediction_vs_truth
from hpo_utils.trials.storage import best_of, score_of, trial_seconds

Metrics = dict[str, Any]  # the content of a trial's metrics.json

N_PAIRS = 3  # maximum number of parameter pairs shown
NO_COMPLETE = "No trial of this study is complete yet, so there is nothing to show here."


def show_overview(report: Report, study: optuna.Study, cfg: Config) -> None:
    """Summarise the study and its result; first say whether it differs from the configuration."""
    if sentence := differs_from(study, cfg):
        report.show(sentence)
    trials = study.get_trials(deepcopy=False)
    counts = {
        state.name.lower(): sum(trial.state == state for trial in trials)
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    seconds = sum(trial_seconds(trial) or 0.0 for trial in trials)
    best = best_of(trials)
    found = _(NO_COMPLETE)
    if best is not None:
        signature = study.user_attrs.get("signature", {})
        what = score_name(signature.get("score", "the score of the study"))
        if (n_folds := signature.get("score_folds", 1)) > 1:
            what = _("{score}, mean over {n} validation parts").format(score=what, n=n_folds)
        found = _(
            "The best is **trial {n}** with a validation score of **{score}**: {what}, the lower"
            " the better."
        ).format(n=best.number, score=f"{best.value:.4f}", what=what)
    summary = _(
        "Study **{name}**: {n} trials ({complete} complete, {pruned} pruned, {fail} fail), {time}"
        " of training in all."
    ).format(name=study.study_name, n=len(trials), time=clock(seconds), **counts)
    report.show(f"{summary} {found}")


def show_trials(report: Report, study: optuna.Study) -> None:
    """Show the table of all finished trials, the best first."""
    trials = study.get_trials(deepcopy=False)
    complete_first = sorted(
        (trial for trial in trials if trial.state.is_finished()),
        key=lambda t: (t.state != TrialState.COMPLETE, score_of(t)),
    )
    if complete_first:
        report.show(trials_table(complete_first))
    else:
        report.show(_(NO_COMPLETE))


def show_search(report: Report, study: optuna.Study) -> None:
    """Show how the score fell over the trials, and the learning curve of every trial."""
    trials = study.get_trials(deepcopy=False)
    if not any(trial.intermediate_values for trial in trials):
        report.show(_(NO_COMPLETE))
        return
    report.show(plot_optimization_history(trials), _("Score of each trial and the best so far"))
    report.show(plot_trial_learning_curves(trials), _("Score over the epochs for every trial"))


def show_effort(report: Report, study: optuna.Study) -> None:
    """Show where the time of the trials went, and how much time was saved."""
    own = [t for t in study.get_trials(deepcopy=False) if "carried_from" not in t.user_attrs]
    trials = with_effort(own)
    if not any(trial_seconds(trial) for trial in trials):
        report.show(_("No trial of this study says where its time went."))
        return
    report.show(plot_timeline(own), _("When each trial ran, on which worker, and how it ended"))
    report.show(endings_table(own))
    report.show(effort_table(trials))
    found = [t.user_attrs["effort"]["utilisation"] for t in trials]
    reached = [share for share in found if share is not None]
    pruning, ending = (
        clock(seconds_saved(trials, state)) for state in (TrialState.PRUNED, TrialState.COMPLETE)
    )
    said = _(
        "Pruning spared about **{pruning}** of training, and trainings that ended when their score"
        " stood still **{ending}**."
    ).format(pruning=pruning, ending=ending)
    if reached:
        said += " " + _(
            "In its training steps the median trial reached **{share}** of the operations per"
            " second that a large matrix product reaches on the same device."
        ).format(share=f"{np.median(reached):.0%}")
    report.show(said)


def show_importances(report: Report, study: optuna.Study) -> None:
    """Show the importance of the parameters, and the number of trials behind it."""
    n_trials = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    importances = parameter_importances(study)
    if importances.empty:
        few = _("To say which parameters mattered takes more complete trials than {n}.")
        report.show(few.format(n=n_trials))
        return
    report.show(plot_importances(importances, n_trials), _("Importance of each parameter"))
    said = _("This rests on **{n} complete trials**.")
    if n_trials < 50:
        said = _(
            "This rests on **{n} complete trials**: too few to trust the order, let alone the"
            " numbers."
        )
    said = said.format(n=n_trials)
    report.show(
        said
        + " "
        + _(
            "fANOVA answers *which parameter changes the score*; PED-ANOVA *which one separates the"
            " best tenth of the trials from the rest*, and alone it misleads: a parameter that"
            " decides between bad and good can come out last. Conditional parameters are in"
            " neither, since not every trial has them."
        )
    )


def show_parameters(report: Report, study: optuna.Study) -> None:
    """Show the parameters of the complete trials together, and the score against each."""
    trials = study.get_trials(deepcopy=False)
    if best_of(trials) is None:
        report.show(_(NO_COMPLETE))
        return
    report.show(plot_parallel_coordinates(trials), _("Parameters of the complete trials"))
    report.show(plot_slices(trials), _("Score of the complete trials against each parameter"))


def show_interactions(report: Report, study: optuna.Study) -> None:
    """Show the pairs of parameters that interact most."""
    trials = study.get_trials(deepcopy=False)
    found = interactions(trials)
    if found.empty:
        report.show(
            _(
                "Which parameters act together takes {n} complete trials and two parameters that"
                " all of them have."
            ).format(n=MIN_TRIALS_FOR_INTERACTION)
        )
        return
    by_chance = f"{found['by_chance'].iloc[0]:.0%}"
    pairs = found["share"][found["share"] > found["by_chance"]].head(N_PAIRS)
    if pairs.empty:
        report.show(
            _(
                "No two parameters are shown to act together, as only strong effects are of few"
                " trials: the strongest pair explains {share} of the score's variance beyond each"
                " of the two on its own, and of shuffled scores one explains {by_chance}."
            ).format(share=f"{found['share'].iloc[0]:.0%}", by_chance=by_chance)
        )
        return
    report.show(
        plot_pairs(trials, list(pairs.index)),
        _("Score of the complete trials over the pairs of parameters that act together most"),
    )
    said = "; ".join(
        f"{short_name(a)} × {short_name(b)} {share:.0%}" for (a, b), share in pairs.items()
    )
    report.show(
        _(
            "Share of the score's variance that a pair explains together, beyond each of the two on"
            " its own: {pairs}. Of shuffled scores the strongest explains {by_chance}."
        ).format(pairs=said, by_chance=by_chance)
    )


def show_trade_off(report: Report, study: optuna.Study) -> None:
    """Show the best trial for each target, and how much the study's best loses there."""
    trials = study.get_trials(deepcopy=False)
    r2, overall = validation_r2(trials), overall_best(trials)
    if r2.empty or overall is None:
        report.show(_(NO_COMPLETE))
        return
    if r2.shape[1] == 1:
        report.show(
            _("With one target there is nothing to trade: the study's best is best for it.")
        )
        return
    table = best_per_target(trials)
    if table.empty:
        report.show(_("No target varies in the validation part, so that R² says nothing of any."))
        return
    front = pareto_front(r2)
    report.show(
        plot_trade_off(r2, front, overall),
        _("Validation R² of every trial for every target, the Pareto front in black"),
    )
    report.show(table)


def show_weights(report: Report, study: optuna.Study) -> None:
    """Show whether a target's share of the loss correlates with its validation R²."""
    trials = study.get_trials(deepcopy=False)
    held = study.user_attrs.get("signature", {}).get("held", {})
    shares = weight_shares(trials, held)
    if shares.empty:
        report.show(_("The weights of the targets in the loss were not searched."))
        return
    effects = weight_effects(trials, held)
    if effects.empty:
        few = _("To say what the weights of the loss do takes more trials than {n}.")
        report.show(few.format(n=len(shares)))
        return
    report.show(
        plot_weight_effects(shares, validation_r2(trials), effects),
        _("Validation R² of each target against its share of the loss (▼: below -0.1)"),
    )


def show_best_trial(report: Report, study: optuna.Study, cfg: Config) -> None:
    """Show the learning curves of the study's best trial."""
    best = best_of(study.get_trials(deepcopy=False))
    if best is None:
        report.show(_(NO_COMPLETE))
        return
    if not has_directory(best, resolve(cfg.paths.outputs_root)):
        gone = _("Trial {n} is the best, but its directory `{where}` is gone, with its curves.")
        report.show(gone.format(n=best.number, where=best.user_attrs["output_dir"]))
        return
    directory = find_trial_output_dir(study, best.number, cfg.paths.outputs_root)
    metrics = read_metrics(directory)
    report.show(
        _(
            "Trial {n}, kept in `{where}`. Train it again with `02_train` and `trial_number` {n}."
        ).format(n=best.number, where=relative_to_root(directory))
    )
    show_learning_curves(report, metrics)


def show_training(report: Report, output_dir: Path, metrics: Metrics) -> None:
    """Say how a training ended and where its files are."""
    report.show(
        _(
            "Validation score **{score}** at epoch {best} of {n}, from a network of {n_parameters}"
            " parameters. Everything is in `{where}`."
        ).format(
            score=f"{metrics['score']:.4f}", best=metrics["best_epoch"], n=len(metrics["scores"]),
            n_parameters=f"{metrics['n_parameters']:,}", where=relative_to_root(output_dir),
        )
    )  # fmt: skip


def show_learning_curves(report: Report, metrics: Metrics) -> None:
    """Show the loss and score of a training over the epochs."""
    figure = plot_learning_curves(metrics, metrics["best_epoch"])
    report.show(figure, _("Loss and validation score over the epochs of one training"))


def show_predictions(report: Report, output_dir: Path, metrics: Metrics) -> None:
    """Show predictions against true values of the held-out part, and the errors of each target."""
    y_true, y_pred = (read_predictions(output_dir / f"y_{kind}.npy") for kind in ("true", "pred"))
    units, part = metrics["target_units"], metrics["part"]
    targets = metrics[f"{part}_targets"]
    names, logarithmic = list(units), metrics.get("logarithmic", ())
    report.show(
        plot_prediction_vs_truth(y_true, y_pred, names, list(units.values()), targets, logarithmic),
        _("Prediction against truth in the {part} part, one panel per target").format(
            part=_(PART_NAMES[part])
        ),
    )
    dataset_id = read_trial_info(output_dir).get("dataset_id")
    if dataset_id is None:
        raise damaged(output_dir / "trial_info.yaml")
    given = load_prepared(output_dir.parents[1], as_given_id(dataset_id))
    data = given.used_by(read_saved_config(output_dir))
    best = best_baselines(fit_baselines(data), data)
    over = {
        name: (b.name, float(np.nanmean((getattr(b, f"{part}_pred")[:, k] - y_true[:, k]) ** 2)))
        for k, (name, b) in enumerate(zip(units, best, strict=True))
    }
    report.show(metrics_table(targets, units, over))


def save_report(report: Report, study: optuna.Study, cfg: Config) -> None:
    """Write everything shown as one HTML page without code, and say where it is."""
    path = report_path(resolve(cfg.paths.outputs_root), study.study_name)
    kept = _("Kept as one page without code: `{where}`.")
    report.show(kept.format(where=relative_to_root(path)))
    report.save(path, _("Study {name}").format(name=study.study_name))
