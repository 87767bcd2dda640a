import optuna
import pytest
import yaml
from optuna.trial import TrialState

from hpo_utils.training.directory import CHECKPOINT_FILE
from hpo_utils.trials.earlier import find_twin
from hpo_utils.trials.objective import repeat

UNIFORM = optuna.distributions.FloatDistribution(0.0, 1.0)


def ended(state, value=None, **attributes):
    return optuna.trial.create_trial(
        params={"x": 0.5}, distributions={"x": UNIFORM}, value=value, state=state,
        user_attrs=attributes,
    )  # fmt: skip


def again(study, asked_for=True):
    """Return a trial of the study with the parameters of those that ended."""
    if asked_for:
        study.enqueue_trial({"x": 0.5})
    study.sampler = optuna.samplers.GridSampler({"x": [0.5]})
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return trial


def test_a_trial_takes_the_outcome_of_its_twin(tmp_path):
    study = optuna.create_study()
    (tmp_path / "first").mkdir()
    study.add_trial(ended(TrialState.COMPLETE, 0.3, output_dir="first", best_epoch=7))
    trial = again(study)
    assert repeat(trial, find_twin(trial, tmp_path), tmp_path) == 0.3
    assert trial.user_attrs == {"output_dir": "first", "best_epoch": 7, "same_as": 0}


def test_the_twin_of_one_that_was_pruned_is_pruned_and_of_one_that_failed_too(tmp_path):
    (tmp_path / "first").mkdir()
    for state, reason in ((TrialState.PRUNED, "was pruned"), (TrialState.FAIL, "failed")):
        study = optuna.create_study()
        study.add_trial(ended(state, failure="ValueError", output_dir="first"))
        trial = again(study, asked_for=False)
        with pytest.raises(optuna.TrialPruned, match=reason):
            repeat(trial, find_twin(trial, tmp_path), tmp_path)


def test_one_that_failed_is_tried_again_when_asked_for(tmp_path):
    study = optuna.create_study()
    study.add_trial(ended(TrialState.FAIL, failure="CUDA error"))
    assert find_twin(again(study), tmp_path) is None
    assert find_twin(again(study, asked_for=False), tmp_path).number == 0


def test_one_whose_process_died_or_whose_directory_is_gone_has_no_twin(tmp_path):
    study = optuna.create_study()
    study.add_trial(ended(TrialState.FAIL, output_dir="first"))
    study.add_trial(ended(TrialState.COMPLETE, 0.3, output_dir="second"))
    (tmp_path / "first").mkdir()
    assert find_twin(again(study, asked_for=False), tmp_path) is None


def test_what_an_interrupted_trial_had_trained_is_not_left_waiting(tmp_path):
    study = optuna.create_study()
    study.add_trial(ended(TrialState.COMPLETE, 0.3, output_dir="first"))
    trial = again(study)
    own = tmp_path / "second"
    for directory in (own, tmp_path / "first"):
        directory.mkdir()
    (own / "trial_info.yaml").write_text("state: WAITING\n")
    (own / CHECKPOINT_FILE).touch()
    trial.set_user_attr("output_dir", "second")
    repeat(trial, find_twin(trial, tmp_path), tmp_path)
    info = yaml.safe_load((own / "trial_info.yaml").read_text())
    assert info == {"state": "PRUNED", "reason": "the same as trial 0"}
    assert not (own / CHECKPOINT_FILE).exists()
