"""The mean over folds: what a trial makes of them."""

import numpy as np
import optuna
import pytest
import yaml

from hpo_utils.base.errors import StopRequest
from hpo_utils.data.preparation import prepare_data
from hpo_utils.trials import score_folds
from hpo_utils.trials.score_folds import mean_over_folds


@pytest.fixture
def few(make_config, make_arrays):
    """A configuration with 40 samples in 20 groups, of which 6 validate, and its data."""
    x = np.random.default_rng(0).normal(size=(40, 1, 16)).astype(np.float32)
    np.save(make_arrays(x)["dataset.x_train"].replace("x.npy", "g.npy"), np.arange(40) // 2)
    arrays = make_arrays(x)
    groups = arrays["dataset.x_train"].replace("x.npy", "g.npy")
    cfg = make_config(**arrays, **{"dataset.groups": groups, "evaluation.score_folds": 4})
    return cfg, prepare_data(cfg)


def asked(study):
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return trial


def test_the_score_is_the_mean_over_real_trainings(few, tmp_path):
    cfg, data = few
    trial = asked(optuna.create_study())
    score = mean_over_folds(trial, cfg, tmp_path, data, 1.0, score_folds.Effort())
    infos = [
        yaml.safe_load((tmp_path / f"fold_{k}/trial_info.yaml").read_text()) for k in (1, 2, 3)
    ]
    assert [info["state"] for info in infos] == ["COMPLETE"] * 3
    assert trial.user_attrs["fold_scores"] == [1.0, *(info["score"] for info in infos)]
    assert score == pytest.approx(np.mean(trial.user_attrs["fold_scores"]))


def test_folds_that_are_done_are_not_trained_again(few, tmp_path, monkeypatch):
    cfg, data = few
    real, calls = score_folds.train_trial, []

    def stopped(cfg, directory, *others):
        calls.append(directory.name)
        if len(calls) == 2:
            raise StopRequest("as asked for")
        return real(cfg, directory, *others)

    monkeypatch.setattr(score_folds, "train_trial", stopped)
    with pytest.raises(StopRequest):
        mean_over_folds(
            asked(optuna.create_study()), cfg, tmp_path, data, 1.0, score_folds.Effort()
        )
    mean_over_folds(asked(optuna.create_study()), cfg, tmp_path, data, 1.0, score_folds.Effort())
    assert calls == ["fold_1", "fold_2", "fold_2", "fold_3"]


def test_a_trial_that_falls_behind_the_median_is_pruned_between_two_folds(
    few, tmp_path, monkeypatch
):
    cfg, data = few
    cfg.study.n_startup_trials = 2
    scores = iter([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 3.0])
    monkeypatch.setattr(score_folds, "train_trial", lambda *_: {"score": next(scores)})
    study = optuna.create_study()
    for _ in range(2):
        trial = asked(study)
        study.tell(trial, mean_over_folds(trial, cfg, tmp_path, data, 1.0, score_folds.Effort()))
    (tmp_path / "trial_info.yaml").write_text("state: COMPLETE\n")
    with pytest.raises(optuna.TrialPruned, match="after 2 folds"):
        mean_over_folds(asked(study), cfg, tmp_path, data, 0.5, score_folds.Effort())
    assert yaml.safe_load((tmp_path / "trial_info.yaml").read_text())["state"] == "PRUNED"
