import subprocess
import sys

import optuna
from optuna.trial import TrialState

from hpo_utils import ownership
from hpo_utils.ownership import current_owner, owner_is_alive, recover_interrupted


def dead_owner():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return {**current_owner(), "pid": process.pid}


def test_this_process_lives_and_a_finished_one_does_not():
    assert owner_is_alive(current_owner())
    assert not owner_is_alive(dead_owner())


def test_a_process_number_given_away_again_is_another_process():
    assert not owner_is_alive({**current_owner(), "started": 1.0})


def test_another_machine_is_never_judged():
    assert owner_is_alive({"host": "elsewhere", "pid": 1, "started": 1.0})


def test_only_trials_of_dead_processes_are_failed(tmp_path):
    study = optuna.create_study()
    for owner in (current_owner(), dead_owner(), None):
        trial = study.ask()
        if owner is not None:
            trial.set_user_attr("owner", owner)
    assert recover_interrupted(study, tmp_path) == [1]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]


def test_a_trial_that_nobody_signed_is_failed_after_a_while(monkeypatch, tmp_path):
    study = optuna.create_study()
    study.ask()
    assert recover_interrupted(study, tmp_path) == []
    monkeypatch.setattr(ownership, "UNSIGNED_GRACE", 0.0)
    assert recover_interrupted(study, tmp_path) == [0]
