import json
import os
from pathlib import Path

import optuna
import pytest
import yaml

from hpo_utils.study import summary
from hpo_utils.study.search import run_study
from hpo_utils.study.summary import (
    generate_study_summary,
    last_searched,
    link_best,
    write_study_files,
)


@pytest.fixture
def study():
    study = optuna.create_study(study_name="s")
    study.set_user_attr("signature", {"score": "MSE", "dataset_id": "d-1"})
    for value, state in ((0.5, None), (0.3, None), (None, optuna.trial.TrialState.FAIL)):
        trial = study.ask()
        trial.suggest_float("training.learning_rate", 0, 1)
        trial.set_user_attr("output_dir", f"2026-01-01/00-00-0{trial.number}")
        trial.set_user_attr("val_r2", {"Gas Velocity": 0.9})
        study.tell(trial, value, state=state)
    return study


def test_the_summary_names_all_trials_and_the_best(study):
    summary = generate_study_summary(study)
    assert (summary["study_name"], summary["n_trials"]) == ("s", 3)
    assert summary["counts"] == {"COMPLETE": 2, "FAIL": 1}
    assert summary["best_trial"] == summary["trials"][1]
    assert summary["best_trial"]["val_r2"] == {"Gas Velocity": 0.9}
    assert set(summary["trials"][0]["params"]) == {"training.learning_rate"}


def test_files_are_the_promised_ones(study, tmp_path):
    best = tmp_path / "2026-01-01" / "00-00-01"
    best.mkdir(parents=True)
    write_study_files(study, tmp_path)
    summary = json.loads((tmp_path / "optuna" / "study_summary.json").read_text())
    assert json.loads((tmp_path / "optuna_study_summary.json").read_text()) == summary
    info = yaml.safe_load((tmp_path / "optuna" / "best_trial_info.yaml").read_text())
    assert (info["study_name"], info["number"], info["value"]) == ("s", 1, 0.3)
    assert (tmp_path / "optuna_best").is_symlink()
    assert (tmp_path / "optuna_best").resolve() == best


def test_the_link_moves_and_falls_back_to_a_text_file(tmp_path, monkeypatch):
    link_best(tmp_path / "optuna_best", "a")
    link_best(tmp_path / "optuna_best", "b")
    assert os.readlink(tmp_path / "optuna_best") == "b"

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(summary.os, "symlink", refuse)
    link_best(tmp_path / "optuna_best", "c")
    assert (tmp_path / "optuna_best").read_text() == "c\n"


def test_no_best_before_a_trial_is_complete(tmp_path, study):
    """And what was there is of another study, so it goes."""
    write_study_files(study, tmp_path)
    assert last_searched(tmp_path) == "s"
    other = optuna.create_study(study_name="other")
    trial = other.ask()
    trial.report(0.1, 1)
    other.tell(trial, state=optuna.trial.TrialState.PRUNED)
    write_study_files(other, tmp_path)
    assert last_searched(tmp_path) == "other"
    assert not os.path.lexists(tmp_path / "optuna_best")
    assert not (tmp_path / "optuna" / "best_trial_info.yaml").exists()


def test_without_figures_of_every_trial_the_best_has_its_own(make_config):
    cfg = make_config("study.trial_figures=false", "study.n_trials=3")
    study = run_study(cfg)
    root = Path(cfg.paths.outputs_root)
    drawn = {trial.number for trial in study.trials if list(figures_of(trial, root))}
    assert drawn == {study.best_trial.number}
    assert len(list((root / "optuna_best").resolve().rglob("*.png"))) == 2
    cfg = make_config("study.trial_figures=true", "study.n_trials=4")
    assert list(figures_of(run_study(cfg).trials[3], root))


def figures_of(trial, root):
    return (root / trial.user_attrs["output_dir"]).rglob("*.png")
