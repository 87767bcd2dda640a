"""A search and the settling of its winner within ``study.budget``."""

import time

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_utils.base.config import budget_seconds
from hpo_utils.base.errors import ConfigError
from hpo_utils.study.search import run_study
from hpo_utils.trials.budget import (
    UNTIL,
    fitted_to_budget,
    has_time_for_another,
    race_trainings,
    remaining,
)
from hpo_utils.winner.settle import settle_winner


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("1.5 min", 90), ("30min", 1800), ("2h", 7200), ("1d", 86400)],
)
def test_a_duration_is_read_as_people_write_it(make_config, written, seconds):
    assert budget_seconds(make_config(**{"study.budget": written})) == seconds


def test_without_a_budget_there_is_no_end(make_config):
    assert budget_seconds(make_config()) is None


@pytest.mark.parametrize("written", ["soon", "0", "-5min", "2 weeks", "min", ""])
def test_what_is_no_duration_is_said(make_config, written):
    with pytest.raises(ConfigError, match="such as 90s, 30min, 2h or 1d"):
        make_config(**{"study.budget": written})


def test_each_fold_with_a_search_of_its_own_gets_its_part(make_config):
    cfg = make_config("study.budget=70min", "data_split.n_folds=7", "evaluation.other_folds=search")
    assert budget_seconds(cfg) == 600


def a_study(seconds_each, left, n=4, n_workers=1):
    """A study whose complete trials took so long each, with so many seconds left."""
    study = optuna.create_study()
    for i in range(n):
        owner = {"host": "lab", "pid": i % n_workers}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs={
            "effort": {"seconds": seconds_each}, "owner": owner,
        }))  # fmt: skip
    study.set_user_attr(UNTIL, time.time() + left)
    return study


RACE = ("study.budget=1000", "evaluation.n_best=5", "evaluation.n_seeds=5")


def test_a_trial_is_begun_only_if_the_race_fits_after_it(make_config):
    cfg = make_config(*RACE)  # a race of 6 + 3 + 2 + 1 + 1 trainings, and four variants
    assert has_time_for_another(a_study(10, left=10 + 170 + 80 + 5), cfg, 0)
    assert not has_time_for_another(a_study(10, left=10 + 170 + 80 - 5), cfg, 0)
    assert has_time_for_another(a_study(10, left=10 + 85 + 80 + 5, n_workers=2), cfg, 0)


def test_the_search_gets_half_however_long_the_race_would_take(make_config):
    cfg = make_config(*RACE)
    assert has_time_for_another(a_study(50, left=555), cfg, 0)
    assert not has_time_for_another(a_study(50, left=545), cfg, 0)


def test_where_there_is_no_time_for_a_race_none_is_kept(make_config):
    cfg = make_config(*RACE)
    assert has_time_for_another(a_study(200, left=285), cfg, 0)
    assert not has_time_for_another(a_study(200, left=275), cfg, 0)


@pytest.mark.parametrize(
    ("left", "n_best", "n_seeds"),
    [
        (900, 5, 5),
        (10 * 20 + 80 + 5, 5, 5),
        (10 * 11 + 80 + 5, 3, 5),
        (10 * 8 + 80 + 5, 1, 4),
        (10 * 3 + 80, 5, 0),
        (-5, 5, 0),
    ],
)
def test_the_race_is_as_wide_as_the_time_left(make_config, left, n_best, n_seeds):
    fitted = fitted_to_budget(a_study(10, left), make_config(*RACE), 0).evaluation
    assert (fitted.n_seeds, fitted.n_best if n_seeds else 5) == (n_seeds, n_best)


def test_a_study_ends_within_its_budget(make_config, capsys):
    cfg = make_config("study.budget=25s", "study.n_trials=1000", "study.n_startup_trials=1000")
    began = time.monotonic()
    study = run_study(cfg)
    assert settle_winner(study, cfg)["members"]
    assert time.monotonic() - began < 50  # alone it ends in 21, beside other tests later
    said = capsys.readouterr().out
    assert "is for its winner" in said
    assert "of study.budget (25s)" in said
    assert 2 <= len(study.trials) < 1000


@pytest.mark.parametrize(
    ("budget", "n_train", "kept"), [(60, 500, 1), (1800, 500, 5), (1800, 50_000, 1)]
)
def test_baselines_for_each_part_of_the_race_must_fit(make_config, budget, n_train, kept):
    cfg = make_config(f"study.budget={budget}", "evaluation.race_folds=5")
    fitted = fitted_to_budget(a_study(1, left=budget / 2), cfg, n_train)
    assert fitted.evaluation.race_folds == kept


def test_many_samples_leave_more_time_for_the_baselines(make_config):
    cfg = make_config("study.budget=60", "evaluation.n_seeds=0")
    assert has_time_for_another(a_study(1, left=20), cfg, 500)
    assert not has_time_for_another(a_study(1, left=20), cfg, 12_000)


@pytest.mark.parametrize(
    ("n_contenders", "counts"), [(6, [3, 2, 1]), (4, [2, 1]), (3, [2, 1]), (2, [2, 1]), (1, [1])]
)
def test_half_of_the_contenders_go_on_and_one_seed_does_not_decide_between_two(
    n_contenders, counts
):
    for n_seeds, expected in enumerate(counts, start=1):
        n_contenders = remaining(n_contenders, n_seeds)
        assert n_contenders == expected


def test_the_trainings_of_a_race_are_counted():
    assert race_trainings(3, 5) == 3 + 2 + 3
    assert race_trainings(6, 5) == 6 + 3 + 2 + 2
    assert race_trainings(2, 1) == 2
    assert race_trainings(4, 0) == 0
