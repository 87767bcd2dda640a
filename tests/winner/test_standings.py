import json

import numpy as np
import pytest

from hpo_utils.data.preparation import prepare_data
from hpo_utils.report.verdict import surely_worse
from hpo_utils.scores.metrics import standardized_errors
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.settle import load_evaluation
from hpo_utils.winner.standings import describe_race, read_sample_scores

CONFIDENCE = 0.95


def contender(trial, *scores, study_score=0.5, beaten=False):
    seeds = range(len(scores))
    directories = {seed: f"{trial}/{seed}" for seed in seeds}
    by_seed = dict(zip(seeds, scores, strict=True))
    return Contender(trial, False, {}, study_score, by_seed, directories, beaten)


def described(*contenders, sample_scores=None):
    return describe_race(list(contenders), sample_scores or {}, None, CONFIDENCE)


def test_who_was_given_up_is_not_compared():
    first, close = contender(1, 0.5, 0.6, 0.55), contender(2, 0.52, 0.61, 0.58)
    beaten = contender(0, 0.9, 0.95, beaten=True)
    _, second, third = described(first, close, beaten)["contenders"]
    assert second["p_value"] == pytest.approx(3 * 0.0742, abs=3e-3)  # the winner is one of three
    assert third["p_value"] is None
    assert third["ratio_interval"] == (None, None)


def test_a_race_with_a_training_that_diverged_is_described():
    diverged = contender(0, 0.4, float("inf"), study_score=0.3, beaten=True)
    found = described(contender(1, 0.5, 0.6), diverged)
    assert found["gap"] is None
    assert found["contenders"][1]["scores"] == [0.4, None]
    json.dumps(found, allow_nan=False)


def test_a_winner_may_have_fewer_seeds_than_one_that_diverged_late():
    first = contender(1, 0.5, 0.6, beaten=True)
    rows = described(first, contender(0, 0.4, 0.4, float("inf")))["contenders"]
    assert rows[1]["mean"] is None
    assert 0 < rows[1]["p_value"] <= 1


def test_the_luck_of_the_studys_best_is_told_from_chance():
    best = contender(4, 0.40, 0.42, 0.41, study_score=0.30)
    winner = contender(1, 0.37, 0.36, 0.35)
    found = described(winner, best)
    assert found["best_trial"] == 4
    assert found["gap"] == pytest.approx(0.11)
    # given up after the first seed, which was hard for both
    early = contender(4, 0.40, study_score=0.30, beaten=True)
    assert described(winner, early)["gap"] == pytest.approx(0.36 + 0.03 - 0.30)
    # Student's t of two degrees of freedom, 4.303, times the standard deviation, times sqrt(4/3)
    assert found["gap_by_chance"] == pytest.approx(4.303 * 0.01 * (4 / 3) ** 0.5, rel=1e-3)


def test_one_given_up_on_an_easy_fold_does_not_look_better_than_the_winner():
    """The winner was ahead of it there."""
    winner, early = contender(1, 0.2, 0.4, 0.6), contender(2, 0.25, beaten=True)
    winner.val_folds, early.val_folds = {0: 0, 1: 1, 2: 2}, {0: 0}
    row = described(winner, early)["contenders"][1]
    assert (row["mean"], row["scores"]) == (pytest.approx(0.45), [pytest.approx(0.45)])
    winner.val_folds, early.val_folds = {0: 0, 1: 0, 2: 0}, {0: 0}
    assert described(winner, early)["contenders"][1]["mean"] == 0.25


def race(rng, factors=(1.0, 1.0), n_samples=96, n_seeds=5):
    """Return configurations, the winner first.

    Of a configuration's error on a sample, most is common to all, a part is its own whatever the
    seed, and a part is the seed's. The last two are multiplied by each one's factor.
    """
    common, contenders, scores = rng.normal(size=n_samples), [], {}
    for number, factor in enumerate(factors):
        own, seeds = rng.normal(size=n_samples), rng.normal(size=(n_seeds, n_samples))
        errors = (0.7**0.5 * common + factor * (0.2**0.5 * own + 0.1**0.5 * seeds)) ** 2
        contenders.append(contender(number, *errors.mean(axis=1)))
        scores |= dict(zip(contenders[-1].directories.values(), errors, strict=True))
    return sorted(contenders, key=lambda c: c.mean), scores


def test_equals_are_told_apart_as_rarely_as_promised():
    """By their seeds alone they are in two of five races: these share the validation samples."""
    rng, by_seeds, by_both, n_races = np.random.default_rng(0), 0, 0, 300
    for _ in range(n_races):
        contenders, scores = race(rng)
        row = described(*contenders, sample_scores=scores)["contenders"][1]
        by_seeds += row["p_value"] < 1 - CONFIDENCE
        by_both += surely_worse(row, CONFIDENCE)
    assert by_seeds / n_races > 0.3
    assert by_both / n_races < 0.08


def test_the_best_of_six_equals_is_called_better_as_rarely_as_promised():
    """The winner is chosen by the scores that judge it: without correction, 12 in 100 races err."""
    rng, wrong, n_races = np.random.default_rng(0), 0, 300
    for _ in range(n_races):
        contenders, scores = race(rng, factors=[1.0] * 6)
        rows = described(*contenders, sample_scores=scores)["contenders"][1:]
        wrong += any(surely_worse(row, CONFIDENCE) for row in rows)
    assert wrong / n_races < 0.07  # 5 %, and two standard errors


def test_a_real_difference_is_found():
    contenders, scores = race(np.random.default_rng(0), factors=(0.5, 1.0), n_samples=400)
    row = described(*contenders, sample_scores=scores)["contenders"][1]
    assert surely_worse(row, CONFIDENCE)


def test_samples_of_a_study_add_up_to_its_scores(settled):
    cfg, study = settled
    data = prepare_data(cfg)
    root = data.directory.parents[1]
    rows = load_evaluation(study, root)["contenders"]
    trial = study.best_trial
    best = Contender(trial.number, False, {}, trial.value, {}, {42: trial.user_attrs["output_dir"]})
    (each,) = read_sample_scores([best], data, cfg, root).values()
    assert each.mean() == pytest.approx(trial.value, rel=1e-5)
    y_pred = np.load(root / best.directories[42] / "val_pred.npy")
    errors = standardized_errors(data.targets("val"), y_pred, data.target_scaler)
    assert each.mean() == pytest.approx(errors["mse"], rel=1e-5)
    assert all(low is not None for low, _ in (row["ratio_interval"] for row in rows[1:]
                                              if not row["beaten"]))  # fmt: skip


def test_trainings_without_predictions_are_not_compared_by_samples(tmp_path, settled):
    cfg, _ = settled
    assert read_sample_scores([contender(0, 0.5)], prepare_data(cfg), cfg, tmp_path) == {}
