"""Every section of 04_analyze says something for every study, also where there is little to say."""

from datetime import timedelta

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_utils.report import study_sections
from hpo_utils.report.page import Report
from hpo_utils.study.search import run_study
from hpo_utils.training.timing import PHASES


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
    study_sections.show_overview(report, study, make_config())
    study_sections.show_trials(report, study)
    study_sections.show_search(report, study)
    study_sections.show_effort(report, study)
    study_sections.show_importances(report, study)
    study_sections.show_parameters(report, study)
    study_sections.show_best_trial(report, study, make_config())
    study_sections.show_trade_off(report, study)
    study_sections.show_weights(report, study)
    said = capsys.readouterr().out
    assert said.count("No trial of this study is complete yet") >= 3
    assert "takes more complete trials than 0" in said
    assert "No trial of this study says where its time went" in said
    assert "The weights of the targets in the loss were not searched" in said


def study_of(n_targets, n_trials):
    """Complete trials with validation R² and searched weights of so many targets."""
    study, rng = empty_study(), np.random.default_rng(0)
    weight = optuna.distributions.FloatDistribution(0.1, 10.0)
    names = [f"training.weight_target_{k}" for k in range(n_targets)]
    for _ in range(n_trials):
        r2 = {f"target {k}": float(rng.uniform(-1, 1)) for k in range(n_targets)}
        study.add_trial(create_trial(
            value=float(rng.uniform(0.2, 2.0)), user_attrs={"val_r2": r2},
            params={name: float(rng.uniform(0.1, 10)) for name in names},
            distributions=dict.fromkeys(names, weight),
        ))  # fmt: skip
    return study


@pytest.mark.parametrize(
    ("n_targets", "n_trials", "n_figures"),
    [(1, 5, 0), (6, 1, 1), (6, 5, 1), (6, 200, 2), (12, 20, 2)],
)
def test_what_trials_are_worth_for_each_target(report, capsys, n_targets, n_trials, n_figures):
    study = study_of(n_targets, n_trials)
    study_sections.show_trade_off(report, study)
    study_sections.show_weights(report, study)
    said = capsys.readouterr().out
    assert said.count("[figure: ") == n_figures
    assert ("nothing to trade" in said) == (n_targets == 1)
    assert ("To say what the weights of the loss do takes" in said) == (
        n_targets > 1 and n_trials < 8
    )


def test_a_real_study(report, make_config, capsys, tmp_path):
    cfg = make_config("training.epochs=1", "model.hidden=4", **{"study.n_trials": 2})
    study = run_study(cfg)
    capsys.readouterr()
    study_sections.show_overview(report, study, cfg)
    study_sections.show_best_trial(report, study, cfg)
    study_sections.show_effort(report, study)
    study_sections.save_report(report, study, cfg)
    said = capsys.readouterr().out
    best = study.best_trial
    assert f"The best is **trial {best.number}** with a validation score of" in said
    assert f"Train it again with `02_train` and `trial_number` {best.number}" in said
    assert "Pruning spared about **0 s** of training" in said
    assert "the median trial reached" in said
    assert (tmp_path / "runs" / "reports" / "smoke.html").is_file()


def test_trials_that_died_without_a_record_are_among_those_that_ended(capsys):
    study = empty_study()
    effort = {**dict.fromkeys(PHASES, 1.0), "utilisation": None, "epochs_planned": 2}
    for state, attributes in ((TrialState.COMPLETE, {"effort": effort}), (TrialState.FAIL, {})):
        trial = create_trial(
            state=state, value=0.5 if state == TrialState.COMPLETE else None, user_attrs=attributes
        )
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=5)
        study.add_trial(trial)
    study_sections.show_effort(Report("04_analyze.ipynb"), study)
    assert "failed: its process died" in capsys.readouterr().out
