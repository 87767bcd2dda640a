"""Trade-offs between targets: best trial of each, Pareto front, effect of the loss weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.base.language import _
from hpo_utils.scores.intervals import holm
from hpo_utils.trials.storage import best_of

WEIGHT = "training.weight_target_"
MIN_TRIALS_FOR_EFFECT = 8  # complete trials; with fewer a rank correlation is meaningless


def validation_r2(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return the validation R²: one row per complete trial, one column per target.

    A trial that copied the result of an identical one is left out, since it would count twice.
    Undefined R² is NaN. Targets renamed during the study have their newest names.
    """
    found = {
        trial.number: trial.user_attrs["val_r2"]
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and "val_r2" in trial.user_attrs
        and "same_as" not in trial.user_attrs
    }
    rows = {number: list(r2.values()) for number, r2 in found.items()}
    names = list(found[max(found)]) if found else []
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names).astype(float)
    return table.rename_axis("trial")


def pareto_front(r2: pd.DataFrame) -> list[int]:
    """Return the trials that no other trial dominates.

    One trial dominates another if it is at least as good for every target, and better for one.
    """
    values = r2.fillna(-np.inf).to_numpy()
    return [
        int(number)
        for number, row in zip(r2.index, values, strict=True)
        if not ((values >= row).all(axis=1) & (values > row).any(axis=1)).any()
    ]


def overall_best(trials: Sequence[FrozenTrial]) -> int | None:
    """Return the number of the study's best trial; of identical trials, the first."""
    best = best_of(trials)
    return None if best is None else int(best.user_attrs.get("same_as", best.number))


def best_per_target(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per target: its best trial, R² there, and how much the study's best loses.

    Empty without a complete trial, or if no target varies in the validation part.
    """
    r2, overall = validation_r2(trials), overall_best(trials)
    if r2.empty or overall is None:
        return pd.DataFrame()
    rows = []
    for target in r2.columns.drop(r2.columns[r2.isna().all()]):
        number = int(r2[target].idxmax())
        rows.append(
            {
                _("target"): target,
                _("best trial"): number,
                _("R² there"): r2.loc[number, target],
                _("R² of trial {n}").format(n=overall): r2.loc[overall, target],
                _("given up, luck included"): r2.loc[number, target] - r2.loc[overall, target],
            }
        )
    return pd.DataFrame(rows).set_index(_("target")) if rows else pd.DataFrame()


def weight_shares(trials: Sequence[FrozenTrial], held: Mapping[str, Any]) -> pd.DataFrame:
    """Return each target's share of the loss, one row per complete trial with R².

    The share is the target's weight divided by the sum of all weights. ``held`` maps dotted keys to
    the values of weights that are not searched. A target whose weight is not searched is left out;
    the table is empty if fewer than two are searched.
    """
    r2 = validation_r2(trials)
    rows = {
        trial.number: {
            k: trial.params[f"{WEIGHT}{k}"]
            for k in range(r2.shape[1])
            if f"{WEIGHT}{k}" in trial.params
        }
        for trial in trials
        if trial.number in r2.index
    }
    weights = pd.DataFrame.from_dict({n: row for n, row in rows.items() if row}, orient="index")
    if weights.shape[1] < 2:
        return pd.DataFrame()
    weights = weights[sorted(weights.columns)].dropna()
    fixed = sum(held.get(f"{WEIGHT}{k}", 0.0) for k in set(range(r2.shape[1])) - set(weights))
    shares = weights.div(weights.sum(axis=1) + fixed, axis=0)
    return shares.rename(columns=dict(enumerate(r2.columns))).rename_axis("trial")


def weight_effects(trials: Sequence[FrozenTrial], held: Mapping[str, Any]) -> pd.DataFrame:
    """Return the correlation of each target's share of the loss with its R².

    Returns
    -------
    DataFrame
        One row per target: Spearman's rank correlation, its p value corrected for the number of
        targets (Holm), and the number of trials.
        Empty with fewer than ``MIN_TRIALS_FOR_EFFECT`` trials, or without searched weights. The
        sampler chose the trials, not chance, so this does not prove a causal effect.
    """
    shares = weight_shares(trials, held)
    if len(shares) < MIN_TRIALS_FOR_EFFECT:
        return pd.DataFrame()
    from scipy.stats import spearmanr  # slow, and not needed by every report

    r2 = validation_r2(trials).loc[shares.index]
    rows = []
    for target in shares.columns:
        pairs = pd.concat([shares[target], r2[target]], axis=1).dropna()
        if len(pairs) < MIN_TRIALS_FOR_EFFECT or (pairs.nunique() < 2).any():
            continue
        effect = spearmanr(pairs.iloc[:, 0], pairs.iloc[:, 1])
        rows.append(
            {
                "target": target,
                "rank correlation": effect.statistic,
                "p": effect.pvalue,
                "trials": len(pairs),
            }
        )
    if not rows:
        return pd.DataFrame()
    found = pd.DataFrame(rows).set_index("target")
    found["p"] = holm(found["p"].tolist())
    return found
