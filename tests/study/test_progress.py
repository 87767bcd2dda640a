from datetime import timedelta

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial

from hpo_utils.__main__ import main
from hpo_utils.study.progress import WANTED, StudyProgress, status, why_none_completed


def lasting(seconds, **kwargs):
    trial = create_trial(**kwargs)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
    return trial


def test_the_time_left_is_that_of_the_trials_over_those_at_work():
    progress = StudyProgress(optuna.create_study(), n_trials=10)
    for pid, seconds in ((1, 60), (2, 20)):
        progress.trial_finished(
            lasting(seconds, value=1.0, user_attrs={"owner": {"host": "lab", "pid": pid}})
        )
    assert progress.remaining() == 8 * 40 / 2
    assert StudyProgress(optuna.create_study(), n_trials=0).remaining() == 0.0


def test_before_the_first_trial_ends_nobody_knows_how_long_it_takes():
    progress = StudyProgress(optuna.create_study(), n_trials=10)
    assert progress.remaining() is None
    assert "remaining: not known yet" in progress._html()["text/plain"]


def test_one_line_per_trial_says_all(capsys, monkeypatch):
    progress = StudyProgress(optuna.create_study(), n_trials=4)
    monkeypatch.setattr(progress, "elapsed", lambda: 100.0)
    for state, value in (
        (TrialState.COMPLETE, 0.5),
        (TrialState.PRUNED, 0.1),
        (TrialState.FAIL, None),
    ):
        attributes = {"failure": "OSError: gone"} if state == TrialState.FAIL else {}
        progress.trial_finished(lasting(100, state=state, value=value, user_attrs=attributes))
    lines = capsys.readouterr().out.splitlines()
    assert "COMPLETE" in lines[0]
    assert "score   0.5000" in lines[0]
    assert "elapsed 1 min 40 s  remaining about 5 min 00 s" in lines[0]  # three to go at 100 s each
    assert "PRUNED" in lines[1]
    assert "best 0.5000" in lines[1]  # a pruned trial is never the best
    assert "FAIL" in lines[2]
    assert "no score" in lines[2]
    assert lines[3].strip() == "because of OSError: gone"
    assert progress.n_done == 2


def test_the_best_of_an_earlier_run_counts(capsys):
    study = optuna.create_study()
    study.tell(study.ask(), 0.2)
    progress = StudyProgress(study, n_trials=1)
    progress.trial_finished(create_trial(value=0.9))
    assert "best 0.2000 (trial 0)" in capsys.readouterr().out


def test_the_status_counts_and_names_what_runs():
    study = optuna.create_study(study_name="s")
    for value in (0.5, 0.2):
        study.tell(study.ask(), value)
    study.set_user_attr(WANTED, 8)
    trial = study.ask()
    trial.report(0.4, 1)
    trial.report(0.3, 2)
    trial.set_user_attr("owner", {"host": "lab", "pid": 7})
    study.ask()
    first, *running = status(study, "study s").splitlines()
    assert first.startswith("study s: 2 of 8 trials (2 running, 2 complete")
    assert "best 0.2000 (trial 1), remaining about 0 s" in first  # they took no time
    assert len(running) == 2
    assert running[0].startswith("trial   2  RUNNING   epoch 2  score 0.3000  for 0 s")
    assert running[0].endswith("process 7 on lab")
    assert "no epoch yet" in running[1]


def test_the_status_of_an_empty_study():
    study = optuna.create_study(study_name="s")
    assert status(study, "study s").startswith("study s: 0 of 0 trials")


DIVERGED = {"failure": "DivergenceError: the loss must stay finite"}
BROKEN = {"failure": "ValueError: no such thing"}


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ([("PRUNED", DIVERGED)] * 2, "of 2 trials 2 diverged, as by DivergenceError"),
        ([("FAIL", BROKEN)] * 3, "of 3 trials all fail, as by ValueError: no such thing"),
        ([("FAIL", {})], "of 1 trials all fail, as by its process died"),
        ([("PRUNED", DIVERGED), ("FAIL", BROKEN)], "of 2 trials 1 diverged"),
        ([("PRUNED", DIVERGED), ("PRUNED", {"same_as": 0})], "of 2 trials 1 diverged"),
        ([("PRUNED", DIVERGED), ("COMPLETE", {})], None),
        ([("FAIL", BROKEN), ("RUNNING", {})], None),
        ([("FAIL", BROKEN), ("WAITING", {})], None),
        ([], None),
    ],
)
def test_a_study_without_a_winner_says_what_became_of_its_trials(ended, said):
    study = optuna.create_study(study_name="s")
    for state, attributes in ended:
        value = 1.0 if state == "COMPLETE" else None
        study.add_trial(create_trial(state=TrialState[state], value=value, user_attrs=attributes))
    found = why_none_completed(study)
    assert (found is None) == (said is None)
    if said is not None:
        assert said in found
        assert "`delete_study`" in found


def test_all_trials_can_be_written_to_a_table(settled, tmp_path, capsys):
    cfg, study = settled
    root = f"paths.outputs_root={cfg.paths.outputs_root} data_split.n_folds=5"
    asked = ["status", "--params-file", "params/smoke.yaml", "--overrides", root, "--trials"]
    assert main([*asked, str(tmp_path / "trials.csv")]) == 0
    found = pd.read_csv(tmp_path / "trials.csv")
    assert found["number"].tolist() == [trial.number for trial in study.trials]
    np.testing.assert_allclose(found["value"], [trial.value for trial in study.trials])
    assert {f"params_{name}" for name in study.best_params} <= set(found.columns)
    for wrong in ("trials.txt", "nowhere/trials.csv"):
        assert main([*asked, str(tmp_path / wrong)]) == 2
        sentence = "trials must be written to a .csv file in a directory that exists, got"
        assert f"{sentence} {tmp_path / wrong}" in capsys.readouterr().err
