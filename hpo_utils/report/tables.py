"""Tables shown in the notebooks: a study's trials, a model's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.formatting import interval_text, percent, short_name
from hpo_utils.base.language import _
from hpo_utils.baselines.take_home import TAKE_HOME, name_at_home
from hpo_utils.report.recorded import contender_name, rule_names
from hpo_utils.scores.skill import NETWORK, joint_verdict
from hpo_utils.scores.spread import Coverage
from hpo_utils.training.timing import PHASES
from hpo_utils.trials.storage import trial_seconds
from hpo_utils.winner.evaluation import AllFolds, Evaluation, Examination, Standing
from hpo_utils.winner.examination import network_verdict, shares_at_home, verdict_at_home


def metrics_table(
    targets: Mapping[str, Mapping[str, float | None]],
    units: Mapping[str, str],
    best_baselines: Mapping[str, tuple[str, float]],
) -> pd.DataFrame:
    """Return one row per target: R², errors in the target's unit, skill over the best baseline.

    Parameters
    ----------
    targets
        ``val_targets`` or ``test_targets`` of a trial's ``metrics.json``.
    units
        Unit of each target.
    best_baselines
        Name and MSE, on the same part, of the best baseline of each target.
    """
    rows = []
    for name, values in targets.items():
        baseline, mse = best_baselines[name]
        ours = values["mse"]
        rows.append(
            {
                _("target"): name,
                "R²": values["r2"],
                "RMSE": values["rmse"],
                "MAE": values["mae"],
                _("bias"): values["bias"],
                _("unit"): units[name],
                _("skill"): 1 - ours / mse if ours is not None and mse > 0 else None,
                _("best baseline"): _(baseline),
            }
        )
    return pd.DataFrame(rows).set_index(_("target"))


def trials_table(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per trial: state, score, epochs done, duration, and every parameter.

    The score of a pruned trial is its last one; failed trials have none.
    """
    rows: list[dict[str, Any]] = [
        {
            _("trial"): trial.number,
            _("state"): _(trial.state.name.lower()),
            _("score"): trial.value,
            _("epochs done"): len(trial.intermediate_values),
            _("seconds"): trial_seconds(trial),
            **{short_name(name): value for name, value in trial.params.items()},
        }
        for trial in trials
    ]
    return pd.DataFrame(rows).set_index(_("trial"))


def endings_table(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per way in which trials ended: number of trials, median number of epochs.

    Empty if no trial has ended.
    """
    ended = [(_ending(t), len(t.intermediate_values)) for t in trials if t.state.is_finished()]
    if not ended:
        return pd.DataFrame()
    by_ending = pd.DataFrame(ended, columns=[_("ending"), "epochs"]).groupby(_("ending"))
    table = by_ending["epochs"].agg(["size", "median"]).sort_values("size", ascending=False)
    table.columns = [_("trials"), _("epochs (median)")]
    return table


def _ending(trial: FrozenTrial) -> str:
    """Describe how a finished trial ended."""
    if "same_as" in trial.user_attrs:
        return _("same configuration as an earlier trial: not trained again")
    if trial.state == TrialState.FAIL:
        failure = trial.user_attrs.get("failure", "its process died").partition(":")[0]
        return _("failed: {reason}").format(reason=_(failure))
    if trial.state == TrialState.PRUNED:
        failure = trial.user_attrs.get("failure", "worse than the median of the others")
        return _("pruned: {reason}").format(reason=_(failure.partition(":")[0]))
    planned = trial.user_attrs.get("effort", {}).get("epochs_planned")
    early = planned is not None and len(trial.intermediate_values) < planned
    return _("complete: the score stood still") if early else _("complete: all epochs")


def effort_table(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per phase of the trials' work: seconds and share of the total time.

    ``trials`` are those ``with_effort``. ``rest`` is their remaining time: keeping the study's
    records and releasing memory.
    """
    sums = {phase: sum(trial.user_attrs["effort"][phase] for trial in trials) for phase in PHASES}
    whole = sum(trial_seconds(trial) or 0.0 for trial in trials)
    sums["rest"] = max(0.0, whole - sum(sums.values()))
    rows = [
        {
            _("phase"): _(phase),
            _("seconds"): round(seconds, 1),
            _("share"): f"{seconds / whole:.1%}",
        }
        for phase, seconds in sums.items()
    ]
    return pd.DataFrame(rows).set_index(_("phase"))


def seconds_saved(trials: Sequence[FrozenTrial], state: TrialState) -> float:
    """Estimate the seconds that trials ending in ``state`` saved by skipping epochs.

    ``trials`` are those ``with_effort``. A skipped epoch counts as long as the trained epochs. A
    trial that diverged saved nothing.
    """
    saved = 0.0
    for trial in trials:
        effort, n_done = trial.user_attrs["effort"], len(trial.intermediate_values)
        if trial.state == state and n_done and "failure" not in trial.user_attrs:
            per_epoch = (effort["train"] + effort["validate"]) / n_done
            saved += per_epoch * (effort["epochs_planned"] - n_done)
    return saved


def with_effort(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that finished training in this study and recorded where their time went."""
    return [
        trial
        for trial in trials
        if trial.state.is_finished()
        and "effort" in trial.user_attrs
        and "carried_from" not in trial.user_attrs
    ]


def contenders_table(contenders: Sequence[Standing], confidence: float) -> pd.DataFrame:
    """Return one row per contender of the re-evaluation, the winner first."""
    rows = [
        {
            _("contender"): contender_name(row),
            _("score in the study"): row["study_score"],
            _("seeds"): len(row["scores"]),
            _("mean"): row["mean"],
            _("{confidence} interval").format(confidence=percent(confidence)): interval_text(
                row["interval"], ".4f"
            ),
            _("p of its seeds against the winner's"): row["p_value"],
            _("score over the winner's, by samples"): interval_text(row["ratio_interval"], ".2f"),
            "": _("given up early") if row["beaten"] else "",
        }
        for row in contenders
    ]
    return pd.DataFrame(rows).set_index(_("contender"))


def held_out_table(found: Examination) -> pd.DataFrame:
    """Return one row per target: R² of the network, best baseline, and skill with its interval."""
    rows = []
    for k, (name, errors) in enumerate(found["test"][NETWORK].items()):
        baseline, skill = found["best_baseline"][k], found["skill"][k]
        singles = [r2 for single in found["single_r2"] if (r2 := single[k]) is not None]
        rows.append(
            {
                _("target"): name,
                "R²": errors["r2"],
                _("interval"): interval_text(errors["r2_interval"]),
                _("R² of one member"): sum(singles) / len(singles) if singles else None,
                _("best baseline"): _(baseline),
                _("its R²"): found["test"][baseline][name]["r2"],
                _("skill over it"): skill["skill"],
                _("interval of the skill"): interval_text(skill["interval"]),
                _("verdict"): _(network_verdict(found, k)),
                **_at_home(found, name, k),
            }
        )
    return pd.DataFrame(rows).set_index(_("target"))


def _at_home(found: Examination, name: str, k: int) -> dict[str, Any]:
    """Return the columns on what goes home, if that is not the network alone."""
    shares = shares_at_home(found)
    if list(shares) == [NETWORK]:
        return {}
    return {
        _("R² of what goes home"): found["test"][name_at_home(shares)][name]["r2"],
        _("its verdict"): _(verdict_at_home(found, k)),
    }


def folds_table(folds: AllFolds) -> pd.DataFrame:
    """Return one row per target: R² in the study's own fold, its range, and R² in all folds."""
    rows, own = [], folds["folds"].index(folds["own"])
    for k, (name, errors) in enumerate(folds["test"][NETWORK].items()):
        r2 = [value for of_fold in folds["fold_r2"] if (value := of_fold[k]) is not None]
        ahead = [(of_fold[k] or 0.0) > 0 for of_fold in folds["fold_skill"]]
        skill = folds["skill"][k]
        rows.append(
            {
                _("target"): name,
                _("R² in the study's fold"): folds["fold_r2"][own][k],
                _("lowest fold"): min(r2, default=None),
                _("highest fold"): max(r2, default=None),
                _("all folds"): errors["r2"],
                _("interval"): interval_text(errors["r2_interval"]),
                _("skill over the best baselines"): skill["skill"],
                _("interval of the skill"): interval_text(skill["interval"]),
                _("ahead in"): _("{k} of {n} folds").format(k=sum(ahead), n=len(ahead)),
                _("verdict"): _(joint_verdict(skill, folds["skill_over_mean"][k])),
                **(
                    {_("R² of what goes home"): folds["test"][TAKE_HOME][name]["r2"]}
                    if TAKE_HOME in folds["test"]
                    else {}
                ),
            }
        )
    return pd.DataFrame(rows).set_index(_("target"))


def coverage_table(found: Examination, units: Sequence[str]) -> pd.DataFrame:
    """Return one row per target: share of the test part inside the winner's intervals.

    ``half width`` is the median half width there, in the target's unit, or as a share of what is
    predicted if the target is logarithmic.
    """
    level = percent(found["spread_confidence"])
    calibrated = _("inside, calibrated to {confidence}").format(confidence=level)
    rows = [
        {
            _("target"): name,
            calibrated: f"{covered['calibrated']:.0%}",
            _("inside, spread as standard deviation"): f"{covered['plain']:.0%}",
            _("half width"): half_width_of(covered),
            _("unit"): unit,
        }
        for name, unit, covered in zip(
            found["validation"], units, found["coverage"] or [], strict=True
        )
    ]
    return pd.DataFrame(rows).set_index(_("target"))


def half_width_of(covered: Coverage) -> float | str:
    """Return a half width in the target's unit; over decades, a share of what is predicted."""
    share = covered.get("relative")
    return covered["half_width"] if share is None else percent(share)


def physics_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per rule: share of the validation part for which each model violates it."""
    columns = dict(evaluation["examination"]["violations"])
    if evaluation["without_physics"] is not None:
        columns["network without constraints"] = evaluation["without_physics"]["violations"]
    table = pd.DataFrame({_(model): pd.Series(broken) for model, broken in columns.items()})
    table = table.rename(index=rule_names(evaluation["target_names"]))
    table.index.name = _("rule")
    return table.map(lambda share: f"{share:.1%}")


def split_table(compared: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return validation score and R² side by side, with groups kept together or split randomly."""
    return pd.DataFrame(
        {
            name: {_("score"): found["score"]} | {f"R² {k}": r2 for k, r2 in found["r2"].items()}
            for name, found in (
                (_("groups kept together"), compared["as_split"]),
                (_("split at random"), compared["at_random"]),
            )
        }
    )


def worst_table(
    numbers: NDArray[np.int64], y_true: NDArray[Any], y_pred: NDArray[Any], targets: Sequence[str]
) -> pd.DataFrame:
    """Return one row per target: measured and predicted value of each sample.

    ``y_true`` and ``y_pred`` have shape (n_samples, n_targets).
    """
    columns = pd.MultiIndex.from_product(
        [[_("sample {n}").format(n=n) for n in numbers], [_("measured"), _("predicted")]]
    )
    values = np.stack([y_true, y_pred], axis=1)  # (n_samples, 2, n_targets)
    return pd.DataFrame(values.reshape(-1, len(targets)).T, index=list(targets), columns=columns)
