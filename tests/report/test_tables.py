from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState

from hpo_utils.report.tables import (
    effort_table,
    folds_table,
    seconds_saved,
    trials_table,
    with_effort,
)


def trial(state, n_done, n_planned, train=8.0, **attrs):
    start = datetime(2026, 1, 1)
    effort = {"data": 1.0, "train": train, "validate": 2.0, "search": 0.5, "files": 0.5}
    effort["seconds"] = sum(effort.values())
    return FrozenTrial(
        number=0, state=state, value=1.0, params={}, distributions={}, system_attrs={}, trial_id=0,
        datetime_start=start, datetime_complete=start + timedelta(seconds=13),
        intermediate_values=dict.fromkeys(range(1, n_done + 1), 1.0),
        user_attrs={
            "effort": {**effort, "utilisation": 0.5, "epochs_planned": n_planned}, **attrs
        },
    )  # fmt: skip


def test_the_shares_of_the_time_sum_to_one():
    table = effort_table([trial(TrialState.COMPLETE, 5, 5), trial(TrialState.PRUNED, 2, 5)])
    assert table["seconds"].to_dict() == {
        "data": 2.0, "train": 16.0, "validate": 4.0, "search": 1.0, "files": 1.0, "rest": 2.0,
    }  # fmt: skip
    assert sum(float(share.rstrip("%")) for share in table["share"]) == pytest.approx(100, abs=0.3)


def test_a_trial_that_was_interrupted_took_all_its_legs():
    long = trial(TrialState.COMPLETE, 5, 5, train=96.0)  # Optuna knows 13 s, of the last leg
    assert trials_table([long])["seconds"].tolist() == [100.0]
    assert effort_table([long]).loc["train", "share"] == "96.0%"


def test_what_was_saved_is_the_epochs_that_were_not_trained():
    trials = [
        trial(TrialState.COMPLETE, 5, 5),
        trial(TrialState.COMPLETE, 4, 10),  # (8 + 2) / 4 a piece: 15 s for six
        trial(TrialState.PRUNED, 2, 5),  # 5 s a piece: 15 s for three
        trial(TrialState.PRUNED, 2, 5, carried_from="another study"),
        trial(TrialState.PRUNED, 2, 5, failure="DivergenceError: the loss must stay finite"),
        trial(TrialState.FAIL, 0, 5),
    ]
    assert seconds_saved(with_effort(trials), TrialState.COMPLETE) == pytest.approx(15)
    assert seconds_saved(with_effort(trials), TrialState.PRUNED) == pytest.approx(15)


def test_a_row_of_all_folds_says_lowest_highest_and_how_often_ahead():
    errors = {"r2": 0.6, "r2_interval": (0.5, 0.7)}
    skill = {"skill": 0.3, "interval": (0.1, 0.5), "verdict": "better"}
    folds = {
        "test": {"network": {"a": errors}}, "fold_r2": [[0.4], [None], [0.8]],
        "fold_skill": [[0.2], [None], [-0.1]], "skill": [skill],
        "skill_over_mean": [{**skill, "verdict": "unclear"}], "folds": [0, 1, 4], "own": 4,
    }  # fmt: skip
    row = folds_table(folds).loc["a"]
    assert row["R² in the study's fold"] == 0.8
    assert row[["lowest fold", "highest fold", "all folds"]].tolist() == [0.4, 0.8, 0.6]
    assert row["ahead in"] == "1 of 3 folds"
    assert row["verdict"] == "not shown to beat the mean"
