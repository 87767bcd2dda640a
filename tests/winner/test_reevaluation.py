import os
import shutil
import threading
import time

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from hpo_utils.base.config import with_target_weights
from hpo_utils.base.errors import DivergenceError, StudyError
from hpo_utils.base.paths import project_root, resolve
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study import retraining
from hpo_utils.study.retraining import SEED, complete_settings, train_all, widened
from hpo_utils.study.search import run_study
from hpo_utils.trials import objective as objective_module
from hpo_utils.trials.ownership import current_owner
from hpo_utils.trials.search_space import load_search_space
from hpo_utils.trials.storage import open_storage
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.reevaluation import (
    choose_contenders,
    fresh_seeds,
    give_up,
    reevaluate,
    wait_for_others,
)


@pytest.fixture
def lucky(monkeypatch):
    """Replace the training: quality by the dropout rate, luck by the seed; count the calls."""
    calls = []

    def train(cfg, output_dir, data, on_epoch, identity, effort, stop):
        calls.append((cfg.model.dropout_rate, cfg.training.seed))
        luck = np.random.default_rng([cfg.training.seed, int(100 * cfg.model.dropout_rate)])
        score = cfg.model.dropout_rate + 0.01 * luck.normal()
        on_epoch(1, score)
        return {"score": score, "best_epoch": 1, "val_targets": {"a": {"r2": 0.5}}}

    monkeypatch.setattr(objective_module, "train_trial", train)
    monkeypatch.setattr("hpo_utils.study.search.draw_best", lambda *_: None)  # it leaves no files
    return calls


def study_of(make_config, **evaluation):
    settings = {f"evaluation.{key}": value for key, value in evaluation.items()}
    cfg = make_config(
        "study.seed=0",
        "study.n_startup_trials=6",
        **{"study.n_trials": 6, "study.pruner": "none", **settings},
    )
    study = run_study(cfg)
    data = prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    return study, cfg, load_search_space(cfg, data.n_targets), data


def test_the_best_and_the_base_are_contenders(make_config, lucky):
    study, cfg, space, _ = study_of(make_config, n_best=2)
    contenders = choose_contenders(study, cfg, space)
    by_score = sorted(study.trials, key=lambda trial: trial.value)
    assert [c.trial for c in contenders[:2]] == [trial.number for trial in by_score[:2]]
    assert sum(c.is_base for c in contenders) == 1
    assert len(contenders) in (2, 3)  # the base may be among the best


def test_trials_that_others_run_are_waited_for_but_not_those_they_begin(
    make_config, lucky, monkeypatch, capsys
):
    study, cfg, *_ = study_of(make_config)
    theirs = {**current_owner(), "host": "another"}

    def ask():
        trial = study.ask()
        trial.set_user_attr("owner", theirs)
        return trial

    running = ask()

    def go_on(_):
        study.tell(running, 0.1)
        ask()

    monkeypatch.setattr(time, "sleep", go_on)
    wait_for_others(study, cfg)
    assert study.trials[running.number].value == 0.1
    assert f"other processes run: [{running.number}]" in capsys.readouterr().out


def test_a_base_that_is_not_tried_does_not_race_and_may_lie_outside_the_space(make_config, lucky):
    cfg = make_config("study.try_base=false", "model.dropout_rate=0.9")
    study, data = run_study(cfg), prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    contenders = choose_contenders(study, cfg, load_search_space(cfg, data.n_targets))
    assert [contender.is_base for contender in contenders] == [False]


def test_seeds_are_fresh_and_always_the_same(make_config):
    seeds = fresh_seeds(make_config(**{"evaluation.n_seeds": 5}))
    assert len(set(seeds)) == 5
    assert 42 not in seeds
    assert fresh_seeds(make_config(**{"evaluation.n_seeds": 3})) == seeds[:3]
    assert fresh_seeds(make_config(**{"study.seed": 1, "evaluation.n_seeds": 5})) != seeds


def test_the_truly_best_wins_and_the_beaten_get_no_more_seeds(make_config, lucky):
    study, cfg, space, data = study_of(make_config, n_best=5, n_seeds=5)
    n_searched = len(lucky)
    contenders = reevaluate(study, cfg, space, data)
    rates = [contender.params["model.dropout_rate"] for contender in contenders]
    assert rates[0] == min(rates)
    assert len(contenders[0].scores) == 5
    assert contenders[0].beaten is False
    beaten = [contender for contender in contenders if contender.beaten]
    # giving up spares seeds, so after the last one nobody is given up, and p values can be small
    assert beaten
    assert all(len(contender.scores) < 5 for contender in beaten)
    assert len(lucky) - n_searched == sum(len(c.scores) for c in contenders)
    assert all(seed in fresh_seeds(cfg) for _, seed in lucky[n_searched:])
    assert contenders[0].mean == pytest.approx(rates[0], abs=0.02)


def test_running_again_trains_nothing_again(make_config, lucky):
    study, cfg, space, data = study_of(make_config, n_best=2, n_seeds=3)
    first = reevaluate(study, cfg, space, data)
    n_trained = len(lucky)
    assert reevaluate(study, cfg, space, data) == first
    assert len(lucky) == n_trained


def test_a_training_whose_directory_is_gone_is_done_again(make_config, lucky):
    study, cfg, space, data = study_of(make_config, n_best=1, n_seeds=2)
    first = reevaluate(study, cfg, space, data)
    n_trained = len(lucky)
    root = resolve(cfg.paths.outputs_root)
    shutil.rmtree(root / next(iter(first[0].directories.values())))
    again = reevaluate(study, cfg, space, data)
    assert len(lucky) == n_trained + 1
    assert again[0].scores == first[0].scores
    # in the same second the new directory may have the name of the one that is gone
    assert all((root / directory).is_dir() for directory in again[0].directories.values())


def test_an_interrupted_race_goes_on(make_config, lucky, monkeypatch):
    study, cfg, space, data = study_of(make_config, n_best=2, n_seeds=3)
    n_searched, train = len(lucky), objective_module.train_trial

    def interrupt(*args):
        if len(lucky) == n_searched + 3:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(objective_module, "train_trial", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reevaluate(study, cfg, space, data)
    monkeypatch.setattr(objective_module, "train_trial", train)
    contenders = reevaluate(study, cfg, space, data)
    assert len(lucky) - n_searched == sum(len(c.scores) for c in contenders)
    assert len(set(lucky[n_searched:])) == len(lucky) - n_searched  # nothing twice


def test_two_that_ask_for_the_same_at_one_moment_take_home_the_same(make_config, lucky):
    study, cfg, space, data = study_of(make_config)
    settings = complete_settings(cfg, study.best_trial.params, 7)
    retrained = optuna.create_study(study_name="smoke-again", storage=open_storage(cfg))
    theirs = {**current_owner(), "host": "another"}
    retrained.enqueue_trial(settings)
    other = retrained.ask()  # theirs runs, ours waits
    other.set_user_attr("owner", {**theirs, "since": time.time()})
    retrained.enqueue_trial(settings)
    n_searched = len(lucky)

    def end_theirs():
        while len(lucky) == n_searched:
            time.sleep(0.05)
        time.sleep(0.5)  # ours has ended by then
        for parameter in widened(space).parameters:
            other._suggest(parameter.name, parameter.distribution)
        directory = cfg.paths.outputs_root + "/theirs"
        os.mkdir(directory)
        other.set_user_attr("output_dir", "theirs")
        retrained.tell(other, 0.25)

    thread = threading.Thread(target=end_theirs)
    thread.start()
    for _ in range(2):  # at once, and when it is asked again
        (trial,) = train_all(study, "again", cfg, space, data, {"it": settings})
        assert trial.user_attrs["output_dir"] == "theirs"  # the first, not ours
        assert [t.state for t in retrained.trials] == [TrialState.COMPLETE] * 2
    thread.join()


def test_several_workers_share_the_race(make_config):
    overrides = ("training.epochs=1", "model.hidden=4", "training.use_weighted_loss=false")
    cfg = make_config(*overrides, **{"study.n_workers": 2, "evaluation.n_best": 1})
    study, data = run_study(cfg), prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    contenders = reevaluate(study, cfg, load_search_space(cfg, data.n_targets), data)
    again = optuna.load_study(study_name="smoke-again", storage=open_storage(cfg))
    assert [len(contender.scores) for contender in contenders] == [2] * len(contenders)
    assert len({t.user_attrs["owner"]["pid"] for t in again.trials}) >= 1
    assert {t.params[SEED] for t in again.trials} == set(fresh_seeds(cfg))


def test_a_training_that_diverges_loses_the_race(make_config, lucky, monkeypatch):
    study, cfg, space, data = study_of(make_config, n_best=2, n_seeds=2)
    best, train = choose_contenders(study, cfg, space)[0], objective_module.train_trial

    def diverge(cfg, *args):
        if cfg.model.dropout_rate == best.params["model.dropout_rate"]:
            raise DivergenceError("the loss must stay finite")
        return train(cfg, *args)

    monkeypatch.setattr(objective_module, "train_trial", diverge)
    contenders = reevaluate(study, cfg, space, data)
    assert contenders[-1].trial == best.trial
    assert contenders[-1].beaten
    assert np.isinf(contenders[-1].mean)
    again = optuna.load_study(study_name="smoke-again", storage=open_storage(cfg))
    assert "DivergenceError: the loss must stay finite" in [
        trial.user_attrs.get("failure") for trial in again.trials
    ]


def test_a_training_that_fails_stops_with_its_reason(make_config, lucky, monkeypatch):
    study, cfg, space, data = study_of(make_config, n_best=1, n_seeds=2)

    train = objective_module.train_trial

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(objective_module, "train_trial", fail)
    for _ in range(2):
        with pytest.raises(StudyError, match="RuntimeError: disk full"):
            reevaluate(study, cfg, space, data)
    monkeypatch.setattr(objective_module, "train_trial", train)
    assert all(np.isfinite(c.mean) for c in reevaluate(study, cfg, space, data))


def test_what_another_process_trains_is_waited_for(make_config, lucky, monkeypatch, capsys):
    study, cfg, space, data = study_of(make_config, n_best=1, n_seeds=2)
    first = reevaluate(study, cfg, space, data)
    again = optuna.load_study(study_name="smoke-again", storage=open_storage(cfg))
    n_trained, last = len(lucky), again.trials[-1]
    optuna.delete_study(study_name="smoke-again", storage=open_storage(cfg))
    theirs = optuna.create_study(study_name="smoke-again", storage=open_storage(cfg))
    for trial in again.trials[:-1]:
        theirs.add_trial(trial)
    theirs.enqueue_trial(last.params)
    running = theirs.ask(last.distributions)
    running.set_user_attr("owner", {**current_owner(), "host": "another"})

    def finish(_):
        for name, value in last.user_attrs.items():
            running.set_user_attr(name, value)
        theirs.tell(running, last.value)

    monkeypatch.setattr(time, "sleep", finish)
    assert reevaluate(study, cfg, space, data) == first
    assert len(lucky) == n_trained
    assert "waiting for another process, which trains 1 of " in capsys.readouterr().out


def test_a_training_that_ends_between_two_looks_is_not_taken_for_lost(
    make_config, lucky, monkeypatch
):
    study, cfg, space, data = study_of(make_config, n_best=1, n_seeds=2)
    finished, theirs = retraining._finished, []

    def others_take_all(again, *_, **__):
        known = retraining.widened(space).distributions
        while waiting := again.get_trials(states=(TrialState.WAITING,)):
            wanted = waiting[0].system_attrs["fixed_params"]
            theirs.append(again.ask({name: known[name] for name in wanted}))
            theirs[-1].set_user_attr("owner", {**current_owner(), "host": "another"})

    def look_just_before_they_end(again, root, space):
        found = finished(again, root, space)
        (root / "there").mkdir(exist_ok=True)
        while theirs:
            theirs[-1].set_user_attr("output_dir", "there")
            again.tell(theirs.pop(), 0.5)
        return found

    monkeypatch.setattr(retraining, "run_workers", others_take_all)
    monkeypatch.setattr(retraining, "_finished", look_just_before_they_end)
    assert all(c.mean == 0.5 for c in reevaluate(study, cfg, space, data))


def test_the_worse_half_and_the_diverged_are_given_up():
    def contender(number, *scores):
        return Contender(number, False, {}, 0.3, dict(enumerate(scores)))

    best, close = contender(0, 0.10, 0.20), contender(1, 0.11, 0.21)
    worse, diverged = contender(2, 0.30, 0.41), contender(3, 0.01, float("inf"))
    give_up([diverged, worse, close, best], 2)
    assert [c.beaten for c in (best, close, worse, diverged)] == [False, False, True, True]
    give_up([best, close], 1)
    assert [c.beaten for c in (best, close)] == [False, True]


def test_most_trainings_are_the_winners(make_config, lucky):
    study, cfg, space, data = study_of(make_config, n_best=2, n_seeds=5)
    n_searched = len(lucky)
    contenders = reevaluate(study, cfg, space, data)
    assert [len(contender.scores) for contender in contenders] == [5, 2, 1]
    assert len(lucky) - n_searched == 8


@pytest.mark.parametrize("integers", ["categorical, choices: [0, 1]", "int, low: 0, high: 1"])
def test_contenders_that_differ_in_the_seed_alone_are_one(make_config, lucky, tmp_path, integers):
    space = (project_root() / "params" / "search_space_smoke.yaml").read_text()
    space += "training.seed: {type: int, low: 0, high: 50}\n"
    space += f"training.averaging_epochs: {{type: {integers}}}\n"  # of a float
    (tmp_path / "space.yaml").write_text(space)
    cfg = make_config("training.averaging_epochs=1.0", **{
        "study.search_space": str(tmp_path / "space.yaml"), "study.n_trials": 5, "study.fixed": [],
        "evaluation.n_seeds": 2, "evaluation.n_best": 2,
    })  # fmt: skip
    study, data = run_study(cfg), prepare_data(cfg)
    cfg = with_target_weights(cfg, data.n_targets)
    contenders = reevaluate(study, cfg, load_search_space(cfg, data.n_targets), data)
    assert all(SEED not in contender.params for contender in contenders)
    assert sum(contender.is_base for contender in contenders) == 1


def test_starting_over_forgets_the_race(make_config, lucky):
    study, cfg, space, data = study_of(make_config, n_best=1, n_seeds=2)
    reevaluate(study, cfg, space, data)
    run_study(make_config(**{"study.n_trials": 1, "study.delete_study": True}))
    assert "smoke-again" not in optuna.get_all_study_names(open_storage(cfg))
