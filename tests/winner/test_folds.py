"""The winner on every fold, of a real small study and of none."""

import json

import numpy as np
import optuna
import pytest

from hpo_utils.base.config import updated
from hpo_utils.base.errors import DivergenceError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.search import run_study, with_those_after
from hpo_utils.study.summary import last_searched
from hpo_utils.training.directory import read_trial_info
from hpo_utils.training.test_looks import WINNER, looks_at_test
from hpo_utils.trials.storage import open_storage
from hpo_utils.winner import settle
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.folds import SettledFold, on_all_folds
from hpo_utils.winner.resplit import prepare_folds
from hpo_utils.winner.settle import choose_members, settle_winner

N_FOLDS = 4


@pytest.fixture
def grouped(make_config, make_arrays, tmp_path):
    """A configuration for data whose targets are seen at once: 16 groups of three samples."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "g.npy", np.repeat(np.arange(16), 3))
    t = rng.normal(size=(48, 2))
    x = np.repeat(t[:, :, None], 16, axis=2) + 0.1 * rng.normal(size=(48, 2, 16))
    settings = {
        "dataset.groups": str(tmp_path / "g.npy"), "data_split.n_folds": N_FOLDS,
        "data_split.fold": 1, "study.n_trials": 1,
    }  # fmt: skip
    return make_config("training.epochs=4", **make_arrays(x, t), **settings)


def test_every_sample_is_tested_once_by_who_never_saw_it(grouped, capsys):
    study, data = run_study(grouped), prepare_data(grouped)
    found = settle_winner(study, grouped)
    folds = found["all_folds"]
    assert folds["folds"] == [1, 2, 3]  # fold 0 chose the winner
    parts = prepare_folds(grouped, data, folds["folds"]).folds.values()
    tested = np.concatenate([each.sample_numbers("test") for each in parts])
    assert sorted([*tested, *data.sample_numbers("val")]) == list(range(48))
    root = data.directory.parents[1]
    trained_on = [read_trial_info(root / each[0])["dataset_id"] for each in folds["members"]]
    assert trained_on == [each.dataset_id for each in parts]
    assert [len(each) for each in folds["members"]] == [2, 2, 2]
    assert folds["members"][0] == found["members"][:2]  # the race's own trainings
    assert (folds["n_samples"], folds["n_groups"], folds["n_units"]) == (36, 12, 12)
    assert folds["leaking"] == []
    card = (root / "winners" / study.study_name / "bundle" / "MODEL_CARD.md").read_text()
    assert "36 samples in 3 of 4 folds" in card
    assert "by trainings of this configuration" in card

    def n_heard():
        return [sum(look.kind == WINNER for look in looks_at_test(each)) for each in parts]

    assert n_heard() == [1, 1, 1]
    capsys.readouterr()
    again = settle_winner(study, grouped)["all_folds"]
    assert again == json.loads(json.dumps(folds))
    assert "fold" not in capsys.readouterr().out
    assert n_heard() == [1, 1, 1]


def test_each_fold_may_have_a_search_of_its_own(grouped, capsys):
    cfg = updated(grouped, {
        "evaluation.other_folds": "search", "evaluation.n_seeds": 0, "training.epochs": 1,
        "data_split.n_folds": 3, "data_split.fold": 2, "data_split.method": "time",
        "dataset.groups": None,
    })  # fmt: skip
    study = run_study(cfg)
    folds = settle_winner(study, cfg)["all_folds"]
    assert folds["searched"]
    assert (folds["folds"], folds["n_samples"], folds["n_units"]) == ([0, 1, 2], 48, 8)  # blocks
    assert [len(each) for each in folds["members"]] == [1, 1, 1]
    storage, root = open_storage(cfg), prepare_data(cfg).directory.parents[1]
    for fold, (member,) in enumerate(folds["members"]):
        name = study.study_name + (f"-fold-{fold}" if fold != 2 else "")
        (trial,) = optuna.load_study(study_name=name, storage=storage).trials
        assert trial.user_attrs["output_dir"] == member
        data = prepare_data(updated(cfg, {"data_split.fold": fold}))
        assert read_trial_info(root / member)["dataset_id"] == data.dataset_id
    capsys.readouterr()
    assert settle_winner(study, cfg)["all_folds"]["members"] == folds["members"]
    assert "COMPLETE" not in capsys.readouterr().out
    assert [*with_those_after(study, root)][1:] == ["the search on fold 0", "the search on fold 1"]
    assert last_searched(root) == study.study_name  # though the others were searched after it
    renamed = updated(cfg, {"dataset.target_names": ["a", "b"]})
    prepare_data(renamed)
    assert set(settle_winner(study, renamed)["all_folds"]["test"]["network"]) == {"a", "b"}
    run_study(updated(cfg, {"study.delete_study": True}))
    assert optuna.get_all_study_names(storage) == [study.study_name]


def test_searches_on_a_fold_and_what_stands_beside_them_are_told_apart(tmp_path):
    storage = optuna.storages.InMemoryStorage()
    fold, stamped = "x-fold-0", "x-fold-0-20261127-120000"
    parents = {fold: "x", stamped: "x", f"{fold}-again": fold, f"{stamped}-again": stamped}
    for name in ("x", "x-fold", "x-fold-0-else", "x-fold-1", "x-again", "xy", *parents):
        study = optuna.create_study(study_name=name, storage=storage)
        study.set_user_attr("companion_of", parents.get(name))
    study = optuna.load_study(study_name="x", storage=storage)
    found = with_those_after(study, tmp_path)
    assert {title: each.study_name for title, each in found.items()} == {
        "study x": "x",
        "the search on fold 0": "x-fold-0",
        "the search on fold 0, its best again, on fresh seeds": "x-fold-0-again",
        "the search on fold 0 of 20261127-120000": "x-fold-0-20261127-120000",
        "the search on fold 0 of 20261127-120000, its best again, on fresh seeds":
            "x-fold-0-20261127-120000-again",
    }  # fmt: skip


def test_a_search_whose_winner_diverges_stops_no_other(grouped, monkeypatch, capsys):
    cfg = updated(grouped, {
        "evaluation.other_folds": "search", "evaluation.n_seeds": 0, "training.epochs": 1,
        "data_split.n_folds": 3, "dataset.groups": None,
    })  # fmt: skip
    asked = []

    def diverging_on_fold_0(*args):
        asked.append(args)
        if len(asked) == 2:
            raise DivergenceError("a winner must train on some seed")
        return choose_members(*args)

    monkeypatch.setattr(settle, "choose_members", diverging_on_fold_0)
    found = settle_winner(run_study(cfg), cfg)
    assert found["all_folds"] == "No training on one of the folds was completed: fold 0."
    assert len(asked) == 3
    assert "a winner must train on some seed" in capsys.readouterr().out


def test_why_nothing_is_said_of_folds(grouped, tmp_path):
    data, alone = prepare_data(grouped), Contender(0, False, {}, 1.0, {7: 1.0}, {7: "a"})

    def said(contender=alone, **settings):
        cfg = updated(grouped, settings)
        settled = SettledFold(contender, ["a"], "nobody", "")
        return on_all_folds(None, cfg, None, data, settled, None)

    assert "`data_split.n_folds`" in said(**{"data_split.n_folds": None, "data_split.fold": 0})
    nothing = "The other folds were not asked (`evaluation.other_folds`, `evaluation.n_seeds`)."
    assert said(**{"evaluation.other_folds": "none"}) == nothing
    assert said(Contender(0, False, {}, 1.0)) == nothing
    assert "17 folds: use more groups or fewer" in said(**{"data_split.n_folds": 17})
    np.save(tmp_path / "t.npy", np.random.default_rng(1).normal(size=(48, 2)))
    assert "their content has changed since" in said()
