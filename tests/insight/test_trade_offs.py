import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from hpo_utils.insight.trade_offs import (
    best_per_target,
    pareto_front,
    validation_r2,
    weight_effects,
    weight_shares,
)

WEIGHTS = optuna.distributions.FloatDistribution(0.1, 10.0)


def trials(*rows, weights=None, **attributes):
    """Trials with validation R² of targets a, b, …; their score is the mean of 1 - R²."""
    study = optuna.create_study()
    for number, row in enumerate(rows):
        params = {} if weights is None else {
            f"training.weight_target_{k}": w for k, w in enumerate(weights[number])
        }  # fmt: skip
        r2 = dict(zip("abcdef", row, strict=False))
        study.add_trial(optuna.trial.create_trial(
            params=params, distributions=dict.fromkeys(params, WEIGHTS),
            value=float(np.mean([1 - value for value in row])),
            user_attrs={"val_r2": r2, **attributes},
        ))  # fmt: skip
    return study.get_trials()


def test_only_complete_trials_count_and_twins_once():
    found = trials((0.9, 0.1), (0.2, 0.8))
    twin = trials((0.9, 0.1), same_as=0)[0]
    twin.number = 2
    pruned = optuna.trial.create_trial(state=TrialState.PRUNED, user_attrs={"val_r2": {"a": 1.0}})
    assert list(validation_r2([*found, twin, pruned]).index) == [0, 1]
    assert validation_r2([pruned]).empty


def test_renamed_targets_are_told_by_their_order():
    before, after = trials((0.9, 0.1)), trials((0.2, 0.8))
    after[0].user_attrs["val_r2"] = {"new": 0.2, "names": 0.8}
    after[0].number = 1
    r2 = validation_r2([*before, *after])
    assert r2.to_dict("list") == {"new": [0.9, 0.2], "names": [0.1, 0.8]}


def test_the_front_has_what_nothing_beats():
    r2 = validation_r2(trials((0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.5, 0.5)))
    assert pareto_front(r2) == [0, 1, 2, 4]  # 3 is beaten by 2 in both; equals beat nobody


def test_the_front_of_one_target_is_its_best():
    assert pareto_front(validation_r2(trials((0.1,), (0.7,), (0.3,)))) == [1]


def test_an_undefined_r2_is_worse_than_any():
    r2 = pd.DataFrame({"a": [0.5, 0.5], "b": [np.nan, -3.0]}, index=[0, 1])
    assert pareto_front(r2) == [1]


def test_the_best_of_each_target_and_what_the_best_overall_gives_up():
    table = best_per_target(trials((0.9, 0.1), (0.2, 0.8), (0.8, 0.7)))
    assert list(table["best trial"]) == [0, 1]
    assert list(table["given up, luck included"]) == pytest.approx([0.1, 0.1])
    assert "R² of trial 2" in table.columns


def test_without_complete_trials_there_is_no_table():
    assert best_per_target([]).empty
    assert weight_shares([], {}).empty
    assert weight_effects([], {}).empty


def test_the_shares_of_the_loss_sum_to_one():
    shares = weight_shares(trials((0.9, 0.1), (0.2, 0.8), weights=[(1.0, 3.0), (5.0, 5.0)]), {})
    assert shares.loc[0].to_dict() == {"a": 0.25, "b": 0.75}
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_weights_that_are_held_have_their_share():
    three = trials((0.9, 0.1, 0.5), weights=[(1.0, 3.0)])
    shares = weight_shares(three, {"training.weight_target_2": 4.0})
    assert shares.loc[0].to_dict() == {"a": 1 / 8, "b": 3 / 8}


def test_targets_that_do_not_vary_have_no_best_trial():
    assert best_per_target(trials((0.1, 0.2), val_r2={"a": None, "b": None})).empty


def test_an_effect_that_is_there_is_found():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.1, 10.0, size=(40, 2))
    share = weights[:, 0] / weights.sum(axis=1)
    rows = np.stack([0.5 + 0.4 * share, rng.uniform(0, 1, 40)], axis=1)
    effects = weight_effects(trials(*rows, weights=weights), {})
    assert effects.loc["a", "rank correlation"] == pytest.approx(1.0)
    assert effects.loc["a", "p"] < 1e-6
    assert abs(effects.loc["b", "rank correlation"]) < 0.5


def test_a_few_trials_show_no_effect():
    weights = [(1.0, k + 1.0) for k in range(7)]
    assert weight_effects(trials(*[(0.1, 0.2)] * 7, weights=weights), {}).empty
