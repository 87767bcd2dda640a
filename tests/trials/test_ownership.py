import os
import subprocess
import sys
import time
from datetime import timedelta

import optuna
import psutil
import pytest
import yaml
from optuna.trial import TrialState

from hpo_utils.trials import ownership
from hpo_utils.trials.ownership import (
    MAX_DEATHS,
    WORKER,
    claim,
    current_owner,
    give_back,
    give_back_from,
    is_run_by,
    owner_is_alive,
    recover_from,
    recover_interrupted,
    register_worker,
)

HOUR = 3600.0


def dead_owner():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return {**current_owner(), "pid": process.pid}


@pytest.fixture
def neighbour():
    """Another process of this machine that lives as long as the test."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = ownership._started(psutil.Process(process.pid))
    yield {**current_owner(), "pid": process.pid, "started": started}
    process.communicate()


def states(study):
    return [trial.state for trial in study.trials]


def test_this_process_lives_and_a_finished_one_does_not():
    assert owner_is_alive(current_owner())
    assert not owner_is_alive(dead_owner())


def test_a_process_number_given_away_again_is_another_process():
    assert not owner_is_alive({**current_owner(), "started": -100.0})


def test_a_clock_that_is_set_kills_nobody(monkeypatch):
    owner, create_time, boot_time = current_owner(), psutil.Process.create_time, psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + HOUR)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time + HOUR)
    assert owner_is_alive(owner)


def test_a_trial_of_another_time_zone_is_not_taken_for_silent(tmp_path):
    study = optuna.create_study()
    claim(study.ask(), {**current_owner(), "host": "elsewhere"})
    (trial,) = study.trials
    trial.datetime_start -= timedelta(hours=9)  # Optuna's, in their time zone
    assert abs(ownership._last_sign(trial, tmp_path) - time.time()) < 60


def test_another_machine_is_never_judged_by_its_processes():
    assert owner_is_alive({"host": "elsewhere", "pid": 1, "started": 1.0})


def test_only_trials_of_dead_processes_wait_to_be_continued(tmp_path, neighbour):
    study = optuna.create_study()
    for owner in (neighbour, dead_owner(), current_owner()):
        study.ask().set_user_attr("owner", owner)
    # the third is of this process: it looks for work, so it cannot be at work
    assert recover_interrupted(study, tmp_path, HOUR) == [1, 2]
    assert states(study) == [TrialState.RUNNING, TrialState.WAITING, TrialState.WAITING]


def test_a_trial_given_back_goes_on_with_what_it_has(tmp_path):
    study = optuna.create_study()
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    trial.set_user_attr("note", "kept")
    give_back(study, trial, {}, tmp_path, "interrupted")
    assert states(study) == [TrialState.WAITING]
    again = study.ask()
    assert (again.number, again.suggest_float("x", 0, 1)) == (trial.number, x)
    assert again.user_attrs == {"note": "kept", "owner": {}}
    assert study.trials[0].intermediate_values == {1: 0.5}


def test_a_finished_trial_is_not_given_back(tmp_path):
    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, 1.0)
    give_back(study, trial, {}, tmp_path, "interrupted")
    assert states(study) == [TrialState.COMPLETE]


def test_a_trial_that_another_took_over_is_not_given_back_by_who_had_it(tmp_path, neighbour):
    study = optuna.create_study()
    trial = study.ask()
    signed = claim(trial, dead_owner())
    (seen,) = study.trials
    trial.set_user_attr("owner", neighbour)  # between the look at it and the judgement
    give_back(study, trial, signed, tmp_path, "its time is over")
    assert ownership._note_death(study, seen, tmp_path, MAX_DEATHS) == []
    assert states(study) == [TrialState.RUNNING]
    study.tell(trial, 1.0)
    assert ownership._note_death(study, seen, tmp_path, MAX_DEATHS) == []


def test_the_files_of_a_dead_trial_tell_the_truth(tmp_path):
    (tmp_path / "trial").mkdir()
    file = tmp_path / "trial" / "trial_info.yaml"
    file.write_text("state: RUNNING\nparams: {}\n")
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("output_dir", "trial")
    trial.set_user_attr("owner", dead_owner())
    recover_interrupted(study, tmp_path, HOUR)
    info = yaml.safe_load(file.read_text())
    assert (info["state"], info["reason"]) == ("WAITING", "its process died")


def test_a_trial_that_nobody_signed_is_free_unless_a_worker_may_be_about_to(tmp_path, neighbour):
    study = optuna.create_study()
    study.ask()
    study.set_user_attr(f"{WORKER}neighbour", neighbour)
    assert recover_interrupted(study, tmp_path, HOUR) == []
    study.set_user_attr(f"{WORKER}neighbour", dead_owner())
    register_worker(study)
    assert recover_interrupted(study, tmp_path, HOUR) == [0]


def test_a_trial_that_goes_on_is_not_judged_by_the_owner_it_had(tmp_path, neighbour):
    study = optuna.create_study()
    study.ask().set_user_attr("owner", dead_owner())
    study.set_user_attr(f"{WORKER}neighbour", neighbour)
    assert recover_interrupted(study, tmp_path, HOUR) == [0]
    study.ask()  # by the neighbour, who is about to claim it
    assert recover_interrupted(study, tmp_path, HOUR) == []


def test_another_machine_is_given_up_when_it_has_been_silent(tmp_path):
    log = tmp_path / "trial" / "logs" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1\n")
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("owner", {**current_owner(), "host": "elsewhere"})
    trial.set_user_attr("output_dir", "trial")
    assert recover_interrupted(study, tmp_path, HOUR) == []
    ago = time.time() - 2 * HOUR
    os.utime(log, (ago, ago))
    assert recover_interrupted(study, tmp_path, HOUR) == []  # it has only just begun
    time.sleep(0.05)
    assert recover_interrupted(study, tmp_path, 0.01) == [0]


def test_a_trial_that_kills_its_workers_fails_in_the_end(tmp_path):
    study = optuna.create_study()
    for times in (1, 2):
        trial = study.ask()
        trial.set_user_attr("owner", {**dead_owner(), "worker": "it"})
        assert recover_from(study, "it", tmp_path) == [0]
        assert tuple(study.trials[0].user_attrs["died"]) == (0, times)
    assert states(study) == [TrialState.FAIL]
    assert "died 2 times" in study.trials[0].user_attrs["failure"]


def test_who_is_ended_on_purpose_did_not_die(tmp_path):
    study = optuna.create_study()
    for _ in range(MAX_DEATHS + 1):
        study.ask().set_user_attr("owner", {**dead_owner(), "worker": "it"})
        give_back_from(study, "another", tmp_path)
        assert states(study) == [TrialState.RUNNING]
        give_back_from(study, "it", tmp_path)
        assert states(study) == [TrialState.WAITING]
    assert "died" not in study.trials[0].user_attrs


def test_power_cuts_are_forgiven_as_long_as_the_trial_gets_on(tmp_path):
    study = optuna.create_study()
    for epoch in range(1, 8):
        trial = study.ask()
        trial.set_user_attr("owner", dead_owner())
        trial.report(0.5, epoch)
        recover_interrupted(study, tmp_path, HOUR)
        assert states(study) == [TrialState.WAITING]
    for _ in range(MAX_DEATHS - 1):
        study.ask().set_user_attr("owner", dead_owner())
        recover_interrupted(study, tmp_path, HOUR)
    assert states(study) == [TrialState.FAIL]


def test_a_trial_that_was_given_to_another_is_not_ours():
    study = optuna.create_study()
    trial = study.ask()
    signed = claim(trial, current_owner())
    assert is_run_by(study, trial, signed)
    trial.set_user_attr("owner", {**signed, "pid": 1})
    assert not is_run_by(study, trial, signed)


def test_a_process_of_another_container_of_the_same_name_cannot_be_seen(monkeypatch):
    """Its number may be free here, or another's: it counts as one of another machine."""
    theirs = {**dead_owner(), "namespace": "pid:[1]"}
    assert owner_is_alive(theirs)
    assert not owner_is_alive(dead_owner())
    before = {key: value for key, value in dead_owner().items() if key != "namespace"}
    assert not owner_is_alive(before)  # written by an earlier version
    monkeypatch.setattr(ownership, "NAMESPACE", ownership.Path("/nowhere"))
    assert current_owner()["namespace"] is None
