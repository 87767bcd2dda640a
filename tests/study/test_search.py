import gc
import json
import os
import subprocess
import sys
import time
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread, Timer

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import TrialState

from hpo_utils.base.config import as_dict, updated, with_target_weights
from hpo_utils.base.errors import ConfigError, SearchSpaceError, StudyError
from hpo_utils.base.paths import project_root, resolve
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study import search as study_module
from hpo_utils.study.by_hand import load_training_config, train_by_hand
from hpo_utils.study.search import (
    differs_from,
    load_existing_study,
    open_study,
    run_study,
    with_those_after,
)
from hpo_utils.training.directory import find_trial_output_dir
from hpo_utils.trials import objective as objective_module
from hpo_utils.trials.search_space import load_search_space
from hpo_utils.trials.storage import count_finished, open_storage
from hpo_utils.workers.team import Team

QUICK = ("training.epochs=1", "model.hidden=4", "training.use_weighted_loss=false")


def open_with(cfg):
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    return open_study(cfg, load_search_space(cfg, data.n_targets), data)


def test_a_real_study_leaves_everything(make_config, tmp_path, capsys):
    cfg = make_config(*QUICK)
    study = run_study(cfg)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    root = tmp_path / "runs"
    for name in ("study.db", "study_summary.json", "best_trial_info.yaml"):
        assert (root / "optuna" / name).is_file()
    assert (root / "optuna_study_summary.json").is_file()
    best = find_trial_output_dir(study, study.best_trial.number, root)
    assert (root / "optuna_best").resolve() == best.resolve()
    assert json.loads((best / "metrics.json").read_text())["score"] == study.best_value
    info = yaml.safe_load((best / "trial_info.yaml").read_text())
    assert (info["state"], info["trial_number"]) == ("COMPLETE", study.best_trial.number)
    assert info["params"] == study.best_trial.params
    assert "Gas Velocity" in study.best_trial.user_attrs["val_r2"]
    assert not any("test" in name for name in study.best_trial.user_attrs)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("trial ") for line in lines) == 2


def test_any_trial_can_be_trained_again_to_the_same_score(make_config):
    cfg = make_config("model.hidden=4")
    study = run_study(cfg)
    root = cfg.paths.outputs_root
    again = load_training_config(
        "params/smoke.yaml", [f"paths.outputs_root={root}"], trial_number="1"
    )
    metrics = train_by_hand(again)[1]
    assert metrics["score"] == study.trials[1].value


def test_the_base_configuration_is_trial_0(make_config, instant):
    cfg = make_config("model.dropout_rate=0.05", **{"study.fixed": []})
    study = run_study(cfg)
    assert study.trials[0].params["model.hidden"] == cfg.model.hidden
    assert study.trials[0].params["training.learning_rate"] == cfg.training.learning_rate
    assert study.trials[1].params != study.trials[0].params


def test_running_again_finishes_rather_than_adds(make_config, instant, capsys):
    assert len(run_study(make_config(**{"study.n_trials": 3})).trials) == 3
    capsys.readouterr()
    assert len(run_study(make_config(**{"study.n_trials": 3})).trials) == 3
    assert "study 'smoke' has its 3 trials: nothing to do" in capsys.readouterr().out
    assert len(run_study(make_config(**{"study.n_trials": 5})).trials) == 5
    assert len(run_study(make_config(**{"study.n_more": 2})).trials) == 7


def test_resuming_does_not_repeat_suggestions(make_config, instant):
    run_study(make_config(**{"study.n_trials": 4}))
    study = run_study(make_config(**{"study.n_trials": 8}))
    rates = [trial.params["training.learning_rate"] for trial in study.trials]
    assert len(set(rates)) == 8


@pytest.mark.parametrize("way", ["setting", "environment"])
def test_starting_over(make_config, instant, monkeypatch, way):
    run_study(make_config(**{"study.n_trials": 3}))
    more = {"study.delete_study": True} if way == "setting" else {}
    if way == "environment":
        monkeypatch.setenv("OPTUNA_DELETE_STUDY", "true")
    assert len(run_study(make_config(**{"study.n_trials": 2}, **more)).trials) == 2


def test_another_space_moves_to_a_new_study_and_carries_over_what_fits(
    make_config, instant, tmp_path, capsys
):
    first = run_study(make_config(**{"study.n_trials": 6, "study.seed": 43}))
    space = yaml.safe_load((project_root() / "params" / "search_space_smoke.yaml").read_text())
    space["training.learning_rate"]["high"] = 0.1
    space["training.batch_size"]["choices"] = [8]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    changed = {
        "study.search_space": str(tmp_path / "space.yaml"),
        "study.n_trials": 7,
        "study.seed": 43,
    }
    second = run_study(make_config(**changed))
    assert second.study_name.startswith("smoke-20")
    fitting = [t.params for t in first.trials if t.params["training.batch_size"] == 8]
    carried = [t for t in second.trials if "carried_from" in t.user_attrs]
    assert 0 < len(carried) < 6
    assert [t.params for t in carried] == fitting
    assert count_finished(second) == 7
    said = capsys.readouterr().out
    assert f"the new study {second.study_name!r} with {len(carried)}" in said
    assert f"left behind, {6 - len(carried)}: training.batch_size is not in {{8}}" in said
    again = run_study(make_config(**changed))  # finds the new one
    assert (again.study_name, len(again.trials)) == (second.study_name, len(second.trials))
    assert load_existing_study(make_config(**changed)).study_name == second.study_name
    assert load_existing_study(make_config()).study_name == "smoke"
    assert (
        len(run_study(make_config(**{"study.n_trials": 6, "study.seed": 43})).trials) == 6
    )  # the first, untouched


def test_other_settings_that_are_not_searched_are_another_study(make_config, instant):
    """What is held at one epoch is not mixed with what is held at two."""
    one = run_study(make_config("training.epochs=1", **{"study.n_trials": 3}))
    two = run_study(make_config("training.epochs=2", **{"study.n_trials": 3}))
    assert two.study_name != one.study_name
    assert not any("carried_from" in trial.user_attrs for trial in two.trials)
    searched = run_study(make_config(**{"study.n_trials": 9}))  # takes both: they fit
    carried = [t for t in searched.trials if "carried_from" in t.user_attrs]
    assert {t.params["training.epochs"] for t in carried} == {2}  # of the newest one
    assert len(carried) == 3


def test_a_new_study_waits_for_a_name_of_its_own(make_config, instant):
    """Two processes may need a new study within the same second."""
    first = run_study(make_config("training.epochs=1", **{"study.n_trials": 1}))
    now = datetime.now()
    taken = [f"smoke-{now + timedelta(seconds=s):%Y%m%d-%H%M%S}" for s in range(3)]
    for name in taken:
        optuna.create_study(study_name=name, storage=first._storage).set_user_attr("signature", {})
    other = run_study(make_config("training.epochs=2", **{"study.n_trials": 1}))
    assert other.study_name not in (first.study_name, *taken)
    assert count_finished(other) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_study_that_another_process_creates_at_this_moment_is_shared(
    make_config, instant, monkeypatch, killed
):
    """It is created first, and signed a moment later, if its process is not killed in between."""
    cfg = make_config()
    signature = open_with(cfg).user_attrs["signature"]
    storage = open_storage(cfg)
    optuna.delete_study(study_name="smoke", storage=storage)
    theirs = optuna.create_study(study_name="smoke", storage=storage)
    signing = Timer(0.5, theirs.set_user_attr, ("signature", signature))
    if killed:
        monkeypatch.setattr(study_module, "SIGNING_S", 0.1)
    else:
        signing.start()
    assert run_study(cfg).study_name == "smoke"
    signing.cancel()
    assert optuna.get_all_study_names(storage) == ["smoke"]
    assert theirs.user_attrs["signature"] == signature


def test_the_analysis_shows_the_study_of_its_settings(make_config, instant):
    cfg, other = make_config(), make_config("training.epochs=1")
    first = run_study(make_config(**{"study.n_trials": 2}))
    second = run_study(make_config("training.epochs=1", **{"study.n_trials": 2}))
    for each, study in ((cfg, first), (other, second)):
        assert load_existing_study(each).study_name == study.study_name
        assert differs_from(study, each) is None
    shown = load_existing_study(make_config("training.epochs=2"))  # never searched
    assert shown.study_name == second.study_name  # the last
    said = differs_from(shown, make_config("training.epochs=2"))
    assert "not the one of these settings" in said
    assert "another settings (training.epochs)" in said
    exact = load_existing_study(make_config(), second.study_name)
    assert exact.study_name == second.study_name
    with pytest.raises(StudyError, match="must be a study called 'smok'"):
        load_existing_study(make_config(), "smok")


def test_trials_use_the_data_of_the_study_whatever_becomes_of_the_source(
    make_config, make_arrays, monkeypatch, tmp_path
):
    arrays = make_arrays()
    cfg = make_config(*QUICK, **arrays)
    real = objective_module.train_trial

    def lose_the_source(*args):
        (tmp_path / "x.npy").unlink(missing_ok=True)
        return real(*args)

    monkeypatch.setattr(objective_module, "train_trial", lose_the_source)
    assert [t.state.name for t in run_study(cfg).trials] == ["COMPLETE"] * 2


def test_memory_of_a_trial_that_failed_is_released(make_config, instant, monkeypatch):
    """An exception holds on to the frames, and so the tensors, of the trial that raised it."""

    class Tensor:
        pass

    alive = []

    def fail(*_):
        assert not any(reference() for reference in alive)  # that of the trial before is gone
        tensor = Tensor()
        alive.append(weakref.ref(tensor))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(objective_module, "train_trial", fail)
    gc.disable()
    try:
        with pytest.raises(StudyError, match="failed in a row, the last with RuntimeError: out"):
            run_study(make_config())
    finally:
        gc.enable()
    assert len(alive) == 3


def test_an_interrupt_of_workers_leaves_no_trial_running(make_config, monkeypatch, tmp_path):
    cfg = make_config("training.epochs=1000", "synthetic.n_samples=400",
                      **{"study.n_workers": 2, "study.n_trials": 4})  # fmt: skip

    follow = Team.follow

    def interrupt(team, n_workers):
        Thread(target=follow, args=(team, n_workers), daemon=True).start()
        while len(list((tmp_path / "runs").glob("20*/*/logs/train.log"))) < 2:
            time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Team, "follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_study(cfg)
    summary = json.loads((tmp_path / "runs" / "optuna" / "study_summary.json").read_text())
    assert "RUNNING" not in summary["counts"]
    infos = [
        yaml.safe_load(f.read_text()) for f in (tmp_path / "runs").glob("20*/*/trial_info.yaml")
    ]
    assert [info["state"] for info in infos] == ["WAITING", "WAITING"]


def test_a_device_that_is_not_there_makes_no_study(make_config, tmp_path):
    with pytest.raises(ConfigError, match="training.device must be"):
        run_study(make_config("training.device=gpu7"))
    assert not (tmp_path / "runs").exists()


def test_another_database(make_config, instant, tmp_path):
    study = run_study(make_config(**{"study.storage": f"sqlite:///{tmp_path / 'a.db'}"}))
    assert (tmp_path / "a.db").is_file()
    assert len(study.trials) == 2
    assert (tmp_path / "runs" / "optuna" / "study_summary.json").is_file()


def test_trials_on_other_data_are_not_carried_over(make_config, instant):
    run_study(make_config(**{"study.n_trials": 2}))
    other = run_study(make_config("data_split.seed=7", **{"study.n_trials": 2}))
    assert other.study_name != "smoke"
    assert not any("carried_from" in trial.user_attrs for trial in other.trials)


def test_a_failing_trial_does_not_end_the_study(make_config, instant, monkeypatch, capsys):
    real = objective_module.train_trial
    calls = []

    def fail_once(*args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("sensor unplugged")
        return real(*args)

    monkeypatch.setattr(objective_module, "train_trial", fail_once)
    study = run_study(make_config(**{"study.n_trials": 3}))
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "because of RuntimeError: sensor unplugged" in capsys.readouterr().out


def test_failures_in_a_row_end_the_study(make_config, instant, monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("disk gone")

    monkeypatch.setattr(objective_module, "train_trial", fail)
    with pytest.raises(StudyError, match="stopped because 3 trials failed in a row, .*disk gone"):
        run_study(make_config())
    summary = json.loads((tmp_path / "runs" / "optuna" / "study_summary.json").read_text())
    assert summary["counts"] == {"FAIL": 3}


def test_a_bad_trial_is_pruned_and_counts(make_config, instant, monkeypatch):
    def train(cfg, output_dir, data, on_epoch, identity, effort, stop):
        worse = identity["trial_number"] >= 5
        for epoch in range(1, 13):
            on_epoch(epoch, 9.0 if worse else 1.0 / epoch)
        return {"score": 0.1, "best_epoch": 12, "val_targets": {}}

    monkeypatch.setattr(objective_module, "train_trial", train)
    study = run_study(make_config(**{"study.n_trials": 7}))
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 5 + ["PRUNED"] * 2
    assert len(study.trials[5].intermediate_values) == 10  # the warm-up


def test_an_interrupt_leaves_true_files(make_config, instant, monkeypatch, tmp_path):
    real = objective_module.train_trial

    def interrupt_third(cfg, output_dir, data, on_epoch, identity, effort, stop):
        if identity["trial_number"] == 2:
            raise KeyboardInterrupt
        return real(cfg, output_dir, data, on_epoch, identity, effort, stop)

    monkeypatch.setattr(objective_module, "train_trial", interrupt_third)
    with pytest.raises(KeyboardInterrupt):
        run_study(make_config(**{"study.n_trials": 4}))
    summary = json.loads((tmp_path / "runs" / "optuna" / "study_summary.json").read_text())
    assert summary["counts"] == {"COMPLETE": 2, "WAITING": 1}
    assert (tmp_path / "runs" / "optuna_best").is_symlink()
    monkeypatch.setattr(objective_module, "train_trial", real)
    study = run_study(make_config(**{"study.n_trials": 4}))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4


def test_a_killed_study_goes_on(make_config, tmp_path):
    """SIGKILL while a trial trains; the next run goes on with it."""
    cfg = make_config("training.epochs=1000", "study.name=long", "synthetic.n_samples=400")
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(as_dict(cfg)))
    code = f"""
from hpo_utils.base.config import load_config
from hpo_utils.study.search import run_study
run_study(load_config({str(tmp_path / "long.yaml")!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    log = None
    while log is None:  # until the trial has finished an epoch
        time.sleep(0.1)
        assert process.poll() is None
        log = next((tmp_path / "runs").glob("20*/*/logs/train.log"), None)
    process.kill()
    process.wait()
    assert [t.state for t in load_existing_study(cfg).trials] == [TrialState.RUNNING]
    study = open_with(cfg)
    assert [t.state.name for t in study.trials] == ["WAITING"]
    info = yaml.safe_load((log.parent.parent / "trial_info.yaml").read_text())
    assert (info["state"], info["reason"]) == ("WAITING", "its process died")


def test_the_files_are_true_while_the_study_runs(make_config, instant, monkeypatch, tmp_path):
    """A study that is killed leaves a summary and a link to the best trial so far."""
    seen = []
    real = objective_module.train_trial

    def look(*args):
        seen.append((tmp_path / "runs" / "optuna_best").is_symlink())
        return real(*args)

    monkeypatch.setattr(objective_module, "train_trial", look)
    run_study(make_config(**{"study.n_trials": 3}))
    assert seen == [False, True, True]


def test_two_workers_share_the_trials_exactly(make_config, tmp_path):
    study = run_study(make_config(*QUICK, **{"study.n_trials": 5, "study.n_workers": 2}))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    owners = {trial.user_attrs["owner"]["pid"] for trial in study.trials}
    assert len(owners) == 2
    assert os.getpid() not in owners
    directories = {trial.user_attrs["output_dir"] for trial in study.trials}
    assert len(directories) == 5
    rates = [trial.params["training.learning_rate"] for trial in study.trials]
    assert len(set(rates)) == 5


def test_the_same_parameters_are_not_trained_twice(make_config, instant, monkeypatch):
    cfg = make_config(**{"study.n_trials": 3})
    study = run_study(cfg)
    monkeypatch.setattr(objective_module, "train_trial", lambda *_: pytest.fail("trained again"))
    study.enqueue_trial(study.trials[1].params)
    again = run_study(make_config(**{"study.n_trials": 4})).trials[3]
    first = study.trials[1]
    assert (again.state, again.value, again.user_attrs["same_as"]) == (first.state, first.value, 1)
    assert again.user_attrs["output_dir"] == first.user_attrs["output_dir"]


def test_a_twin_is_carried_over_as_a_trial_of_its_own(make_config, instant, tmp_path):
    """The number of the trial that it is the same as means another one in the new study."""
    study = run_study(make_config(**{"study.n_trials": 2}))
    study.enqueue_trial(study.trials[1].params)
    assert "same_as" in run_study(make_config(**{"study.n_trials": 3})).trials[2].user_attrs
    space = yaml.safe_load((project_root() / "params" / "search_space_smoke.yaml").read_text())
    space["training.learning_rate"]["high"] = 0.5
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    changed = {"study.search_space": str(tmp_path / "space.yaml"), "study.n_trials": 3}
    carried = run_study(make_config(**changed)).trials
    assert ["carried_from" in trial.user_attrs for trial in carried] == [True] * 3
    assert not any("same_as" in trial.user_attrs for trial in carried)


def test_the_races_of_a_study_are_found_with_it(settled):
    cfg, study = settled
    beside = with_those_after(study, resolve(cfg.paths.outputs_root))
    found = {title: each.study_name for title, each in beside.items()}
    assert found == {
        "study smoke": "smoke",
        "its best again, on fresh seeds": "smoke-again",
        "its winner, on the other folds": "smoke-all-folds",
    }


def test_without_the_base_the_sampler_begins(make_config, instant):
    study = run_study(make_config(**{"study.n_trials": 1, "study.try_base": False}))
    assert "fixed_params" not in study.trials[0].system_attrs


def test_a_base_outside_the_space_changes_nothing(make_config, tmp_path):
    with pytest.raises(SearchSpaceError, match="base configuration must lie in the search space"):
        run_study(make_config(**{"model.hidden": 7}))
    assert not (tmp_path / "runs" / "optuna").exists()


def test_no_study_is_said_and_nothing_is_made(make_config, tmp_path):
    with pytest.raises(StudyError, match=r"must be a study called 'smoke' .* run notebooks/03_opt"):
        load_existing_study(make_config())
    assert not (tmp_path / "runs").exists()


def test_optuna_is_quiet(make_config, instant, capfd):
    run_study(make_config())
    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR


OTHERS = {  # settings that ask for another study of the same name
    "other settings": {"model.use_statistics": True},
    "another score": {"evaluation.score": "mae"},
    "another target": {"evaluation.target": "Gas Velocity"},
    "other data": {"synthetic.seed": 5},
    "other samples": {"dataset.limit": 40},
    "another split": {"data_split.seed": 7},
    "a smaller space": {"study.fixed": ["model.hidden"]},
}


@pytest.mark.parametrize("what", OTHERS)
def test_each_of_two_studies_of_one_name_is_shown_for_its_settings(make_config, instant, what):
    one, other = make_config(**{"study.n_trials": 1}), make_config(
        **{"study.n_trials": 1, **OTHERS[what]}
    )  # fmt: skip
    first = run_study(one)
    said = differs_from(load_existing_study(other), other)
    assert "is not the one of these settings" in said
    assert "run `03_optimize`" in said
    second = run_study(other)
    assert second.study_name != first.study_name
    run_study(one)  # the last that was searched
    for cfg, study in ((one, first), (other, second)):
        shown = load_existing_study(cfg)
        assert shown.study_name == study.study_name
        assert differs_from(shown, cfg) is None
        assert differs_from(first if study is second else second, cfg) is not None


def test_each_part_that_validates_can_be_scored(make_config, make_arrays):
    t = np.full((60, 2), np.nan, np.float32)
    t[:, 0] = np.arange(60)
    given = make_arrays(np.random.default_rng(0).normal(size=(60, 1, 16)).astype("f4"), t)
    cfg = make_config("dataset.partly_measured=true", "evaluation.score_folds=4", **given)
    split = np.repeat(["train", "val", "test"], [40, 10, 10])
    np.save(Path(given["dataset.x_train"]).with_name("split.npy"), split)
    t[[0, 1, 40, 41, 50, 51], 1] = np.arange(6)  # two samples of each part, in few of the folds
    np.save(given["dataset.t_train"], t)
    cfg.dataset.split = str(Path(given["dataset.x_train"]).with_name("split.npy"))
    run_study(updated(cfg, {"study.n_trials": 1}))
    cfg.evaluation.target = "target 1"
    with pytest.raises(ConfigError, match="'target 1' was not.*part meant is number"):
        run_study(cfg)
    cfg.evaluation.target, cfg.data_split.val_fold = None, 4
    with pytest.raises(ConfigError, match="val_fold must be one of the 4 parts"):
        run_study(cfg)


def test_trainings_that_settle_a_winner_are_no_study_to_look_at(settled):
    cfg, study = settled
    with pytest.raises(StudyError, match=f"settle the winner of {study.study_name!r}"):
        load_existing_study(cfg, f"{study.study_name}-again")
