"""Every section of 04_analyze says something for every study, also where there is little to say."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_utils import analysis
from hpo_utils.report import Report
from hpo_utils.study import run_study


@pytest.fixture
def report():
    return Report("04_analyze.ipynb")


def empty_study():
    return optuna.create_study(study_name="s")


def pruned_study():
    study = empty_study()
    study.add_trial(create_trial(state=TrialState.PRUNED, value=2.0, intermediate_values={1: 2.0}))
    return study


@pytest.mark.parametrize("make", [empty_study, pruned_study])
def test_a_study_without_a_complete_trial(report, make_config, capsys, make):
    study = make()
    analysis.show_overview(report, study)
    analysis.show_trials(report, study)
    analysis.show_search(report, study)
    analysis.show_effort(report, study)
    analysis.show_importances(report, study)
    analysis.show_parameters(report, study)
    analysis.show_best_trial(report, study, make_config())
    said = capsys.readouterr().out
    assert said.count("No trial of this study is complete yet") >= 3
    assert "0 complete trials are too few" in said
    assert "No trial of this study says where its time went" in said


def test_a_real_study(report, make_config, capsys, tmp_path):
    cfg = make_config("training.epochs=1", "model.hidden=4", **{"study.n_trials": 2})
    study = run_study(cfg)
    capsys.readouterr()
    analysis.show_overview(report, study)
    analysis.show_best_trial(report, study, cfg)
    analysis.show_effort(report, study)
    analysis.save_report(report, study, cfg)
    said = capsys.readouterr().out
    best = study.best_trial
    assert f"The best is **trial {best.number}** with a validation score of" in said
    assert f"Train it again with `02_train` and `trial_number` {best.number}" in said
    assert "Pruning spared about **0:00** of training" in said
    assert "the median trial reached" in said
    assert (tmp_path / "runs" / "reports" / "smoke.html").is_file()
