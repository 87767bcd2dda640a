import json
import shutil
from typing import get_type_hints

import numpy as np
import pytest

from hpo_utils.base.config import load_config, updated
from hpo_utils.base.errors import DivergenceError, StudyError
from hpo_utils.base.paths import resolve
from hpo_utils.baselines.fitted import fit_baselines
from hpo_utils.baselines.take_home import name_at_home
from hpo_utils.bundle.bundle import load_bundle
from hpo_utils.bundle.members import folds_of, load_member
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.prepared import judged_on, load_prepared
from hpo_utils.report.verdict import SettledStudy, beats_baselines, sentence_on_home
from hpo_utils.report.winner_sections import predicted_at_home
from hpo_utils.scores.skill import NETWORK
from hpo_utils.study.by_hand import train_by_hand
from hpo_utils.study.search import run_study
from hpo_utils.training.test_looks import looks_at_test
from hpo_utils.trials import objective as objective_module
from hpo_utils.winner import settle
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.evaluation import Evaluation, Examination, Standing, WithoutPhysics
from hpo_utils.winner.examination import validated_in_turn
from hpo_utils.winner.settle import (
    choose_members,
    load_evaluation,
    load_predictions,
    settle_winner,
    study_data,
    winner_directory,
)

QUICK = ("training.epochs=1", "model.hidden=4", "training.use_weighted_loss=false")


@pytest.fixture(autouse=True)
def no_onnx(monkeypatch):
    """Leave out the ONNX file, which takes seconds and is looked at in the tests of the bundle."""
    monkeypatch.setattr(settle, "write_onnx", lambda *_: None)
    monkeypatch.setattr(settle, "check_written", lambda *_: None)


def test_everything_is_written(settled):
    cfg, study = settled
    root = prepare_data(cfg).directory.parents[1]
    evaluation = load_evaluation(study, root)
    for written, described in (
        (evaluation, Evaluation), (evaluation["examination"], Examination),
        (evaluation["contenders"][0], Standing), (evaluation["without_physics"], WithoutPhysics),
    ):  # fmt: skip
        assert set(written) == set(get_type_hints(described))
    first = evaluation["contenders"][0]
    assert len(first["scores"]) == len(evaluation["members"]) == 2
    assert first["mean"] == pytest.approx(np.mean(first["scores"]))
    best = next(c for c in evaluation["contenders"] if c["trial"] == study.best_trial.number)
    assert evaluation["gap"] == pytest.approx(best["mean"] - study.best_value)
    held = load_predictions(winner_directory(root, study.study_name))
    data = prepare_data(cfg)
    np.testing.assert_array_equal(held["test_true"], data.targets("test"))
    assert held["test"].shape == (2, *data.targets("test").shape)
    without = evaluation["without_physics"]
    assert set(without["violations"]) == set(evaluation["examination"]["violations"]["network"])
    assert set(evaluation["examination"]["violations"]["network"].values()) == {0.0}


def test_settling_again_opens_nothing_and_trains_nothing(settled, monkeypatch):
    cfg, study = settled
    data = prepare_data(cfg)
    before = looks_at_test(data)
    assert sum(look.kind == "winner" for look in before) == 1
    monkeypatch.setattr(objective_module, "train_trial", lambda *_: pytest.fail("trained again"))
    first = load_evaluation(study, data.directory.parents[1])
    second = settle_winner(study, cfg)
    assert looks_at_test(data) == before
    assert second["examination"] == first["examination"]


def test_a_strict_test_part_is_opened_once(make_config):
    cfg = make_config(*QUICK, **{"evaluation.strict_test": True, "study.n_trials": 1})
    study = run_study(cfg)
    data = prepare_data(cfg)
    assert looks_at_test(data) == []
    settle_winner(study, cfg)
    (look,) = looks_at_test(data)
    assert look.kind == "winner"
    assert look.by.startswith("trial 0 (base) of study smoke, ")
    other = make_config(*QUICK, **{"evaluation.strict_test": True, "study.n_trials": 1,
                                   "study.name": "other", "study.seed": 7})  # fmt: skip
    settle_winner(run_study(other), other)
    assert [" of study other, " in look.by for look in looks_at_test(data)] == [False, True]


def test_names_may_be_corrected_without_a_new_look(make_config, make_arrays):
    arrays = {**make_arrays(), "evaluation.n_seeds": 0, "study.n_trials": 1}
    study = run_study(make_config(*QUICK, **arrays))
    settle_winner(study, make_config(*QUICK, **arrays))
    renamed = make_config(*QUICK, **arrays, **{"dataset.target_names": ["p", "q"]})
    data = prepare_data(renamed)
    evaluation = settle_winner(study, renamed)
    assert list(evaluation["examination"]["validation"]) == ["p", "q"]
    assert sum(look.kind == "winner" for look in looks_at_test(data)) == 1
    card = data.directory.parents[1] / "winners" / "smoke" / "bundle" / "MODEL_CARD.md"
    assert "| p |" in card.read_text()


def test_a_bundle_of_an_earlier_version_is_written_anew_without_a_new_look(
    make_config, make_arrays
):
    arrays = {**make_arrays(), "evaluation.n_seeds": 0, "study.n_trials": 1}
    cfg = make_config(*QUICK, **arrays)
    study = run_study(cfg)
    settle_winner(study, cfg)
    data = prepare_data(cfg)
    bundle = winner_directory(data.directory.parents[1], "smoke") / "bundle"
    file = bundle / "bundle.json"
    file.write_text(file.read_text().replace('"version": ', '"version": -'))
    settle_winner(study, cfg)
    load_bundle(bundle)
    assert sum(look.kind == "winner" for look in looks_at_test(data)) == 1


def test_a_study_keeps_its_physics_whatever_others_know_of_the_data(make_config, make_arrays):
    t = np.random.default_rng(0).uniform(0.0, 1.0, (40, 2))
    arrays = {**make_arrays(t=t), "evaluation.n_seeds": 0, "study.n_trials": 1}
    cfg = make_config(*QUICK, **arrays, **{
        "dataset.target_names": ["p", "q"], "dataset.non_negative": ["q"]
    })  # fmt: skip
    study = run_study(cfg)
    prepare_data(make_config(*QUICK, **arrays))  # same arrays, but nothing known of them
    evaluation = settle_winner(study, cfg)
    assert evaluation["target_names"] == ["p", "q"]
    assert evaluation["examination"]["violations"]["network"] == {"q below 0": 0.0}
    assert study_data(study, cfg).physics.non_negative == (1,)


def test_seeds_that_diverge_are_left_out(tmp_path):
    scores = {1: 0.5, 2: float("inf"), 3: 0.4}
    contender = Contender(0, False, {}, 0.3, scores, {1: "a", 2: "b", 3: "c"})
    assert choose_members(contender, ensemble=True, root=tmp_path) == ["a", "c"]
    assert choose_members(contender, ensemble=False, root=tmp_path) == ["c"]
    lost = Contender(0, False, {}, 0.3, {1: float("inf")}, {1: "a"})
    with pytest.raises(DivergenceError, match="trial 0 diverged on each of"):
        choose_members(lost, ensemble=True, root=tmp_path)


def test_without_seeds_the_best_trial_wins_as_it_is(make_config, tmp_path):
    cfg = make_config(*QUICK, **{"evaluation.n_seeds": 0})
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    assert evaluation["members"] == [study.best_trial.user_attrs["output_dir"]]
    assert evaluation["gap"] is None
    half_widths = [each["half_width"] for each in evaluation["examination"]["coverage"]]
    assert min(half_widths) > 0  # one network: all intervals are of one width


def test_one_network_may_be_taken_home(make_config):
    cfg = make_config(*QUICK, **{"evaluation.ensemble": False, "study.n_trials": 1})
    evaluation = settle_winner(run_study(cfg), cfg)
    assert len(evaluation["contenders"][0]["scores"]) == 2
    assert len(evaluation["members"]) == 1


def test_what_goes_home_can_be_chosen_afterwards(make_config):
    """Without another look at the test part, and without another training."""
    cfg = make_config(*QUICK, **{"study.n_trials": 1})
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    data = load_prepared(resolve(cfg.paths.outputs_root), evaluation["dataset_id"])
    n_looks = len(looks_at_test(data))
    again = settle_winner(study, updated(cfg, {"evaluation.take_home": "network"}))
    assert list(again["examination"]["shares"]) == [NETWORK]
    assert again["members"] == evaluation["members"]
    bundle = winner_directory(resolve(cfg.paths.outputs_root), study.study_name) / "bundle"
    assert list(load_bundle(bundle).layout.shares) == [NETWORK]
    assert len(looks_at_test(data)) == n_looks


def test_a_study_without_a_complete_trial_has_no_winner(make_config, monkeypatch, capsys):
    cfg = make_config("training.learning_rate=1e-2", *QUICK, **{"study.n_trials": 1})

    def diverge(*_):
        raise objective_module.DivergenceError("the loss must stay finite")

    monkeypatch.setattr(objective_module, "train_trial", diverge)
    assert settle_winner(run_study(cfg), cfg) is None
    assert "so it has no winner" in capsys.readouterr().out


def test_files_of_a_deleted_study_are_not_taken_for_a_new_one(make_config):
    settings = {"evaluation.n_seeds": 0, "study.n_trials": 1}
    settle_winner(run_study(make_config(*QUICK, **settings)), make_config(*QUICK, **settings))
    cfg = make_config(*QUICK, **settings, **{"study.delete_study": True})
    assert load_evaluation(run_study(cfg), prepare_data(cfg).directory.parents[1]) is None


def test_groups_are_compared_with_a_random_split(make_config, make_arrays, tmp_path):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 5)
    x = rng.normal(size=(24, 2, 16))[groups] + 0.05 * rng.normal(size=(120, 2, 16))
    np.save(tmp_path / "g.npy", groups)
    settings = make_arrays(x, rng.normal(size=24)[groups])
    settings |= {"dataset.groups": str(tmp_path / "g.npy"), "study.n_trials": 1}
    cfg = make_config("training.epochs=25", "model.hidden=16", "training.learning_rate=0.003",
                      "model.dropout_rate=0.0", **settings)  # fmt: skip
    compared = settle_winner(run_study(cfg), cfg)["random_split"]
    assert compared["at_random"]["n_seeds"] == compared["as_split"]["n_seeds"] == 2
    assert compared["at_random"]["r2"]["target 0"] > compared["as_split"]["r2"]["target 0"] + 0.2


@pytest.mark.parametrize("start", ["at ridge regression", "at random"])
def test_noise_is_called_noise(make_config, make_arrays, start):
    """No model beats the mean, and who was best was lucky; with a start at the mean nobody was."""
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(240, 1, 16)), rng.normal(size=(240, 2))
    cfg = make_config("training.epochs=3", **make_arrays(x, t), **{
        "study.n_trials": 8, "study.pruner": "none", "evaluation.n_best": 2,
        "evaluation.n_seeds": 3, "model.use_views": start != "at random",
        "model.linear_start": start != "at random",
    })  # fmt: skip
    evaluation = settle_winner(run_study(cfg), cfg)
    assert beats_baselines(evaluation["examination"]).startswith("**No model beats the mean**")
    assert evaluation["gap"] > 0 if start == "at random" else abs(evaluation["gap"]) < 0.03


def test_the_same_seed_gives_the_same_metrics_here_in_a_worker_and_after_a_resume(make_config):
    """Bit for bit, however many threads a process has: the step of a small network takes one."""
    settings = {"study.n_trials": 2, "study.seed": 5}
    here = run_study(make_config(**settings, **{"study.name": "here"}))
    resumed = run_study(make_config(**{**settings, "study.name": "twice", "study.n_trials": 1}))
    worker = run_study(make_config(**settings, **{"study.name": "worker", "study.n_workers": 2}))
    by_params = {json.dumps(t.params, sort_keys=True): t.value for t in here.trials}
    base = json.dumps(here.trials[0].params, sort_keys=True)
    assert resumed.trials[0].value == by_params[base]
    again = run_study(make_config(**{**settings, "study.name": "twice"}))
    assert again.trials[0].value == by_params[base]
    values = {json.dumps(t.params, sort_keys=True): t.value for t in worker.trials}
    assert values[base] == by_params[base]
    base_dir = here.trials[0].user_attrs["output_dir"]
    root = prepare_data(make_config()).directory.parents[1]
    by_hand = train_by_hand(load_config(root / base_dir / "config.yaml"))[1]
    stored = json.loads((root / base_dir / "metrics.json").read_text())
    assert by_hand == stored


@pytest.mark.parametrize("in_search", [True, False])
def test_samples_validate_in_turn_and_each_is_judged_by_what_has_not_seen_it(
    make_config, in_search
):
    folds = "evaluation.score_folds=3" if in_search else "evaluation.race_folds=3"
    cfg = make_config(*QUICK, folds, "evaluation.n_seeds=4", "study.n_trials=1")
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    root, data = resolve(cfg.paths.outputs_root), prepare_data(cfg)
    (trial,) = study.trials
    scores = trial.user_attrs.get("fold_scores", [trial.value])
    assert trial.value == pytest.approx(np.mean(scores))
    n_folds = 3 if in_search else 1
    assert study.user_attrs.get("signature", {}).get("score_folds", 1) == len(scores) == n_folds
    members = [load_member(root / each) for each in evaluation["members"]]
    assert folds_of(members) == [0, 1, 2, 0]
    judged = judged_on(data, cfg, folds_of(members))
    held = load_predictions(winner_directory(root, study.study_name))
    np.testing.assert_array_equal(held["val_true"], judged.targets("val"))
    assert held["val"].shape == (1, *held["val_true"].shape)
    saved = [np.load(root / each / "val_pred.npy") for each in evaluation["members"]]
    for k, expected in ((0, (saved[0] + saved[3]) / 2), (1, saved[1]), (2, saved[2])):
        np.testing.assert_allclose(held["val"][0, judged.places(k)], expected, rtol=1e-4, atol=1e-6)
    raced = evaluation["contenders"][0]["scores"]
    alike = raced if in_search else [raced[0], raced[3]]  # those that left out the given part
    assert evaluation["gap"] == pytest.approx(np.mean(alike) - trial.value)
    examination = evaluation["examination"]
    assert examination["n_val_units"] == len(judged.targets("val"))
    assert not examination["intervals"]["has_spread"]
    assert validated_in_turn(evaluation)
    bundle = load_bundle(winner_directory(root, study.study_name) / "bundle")
    assert set(bundle.layout.shares) == set(examination["shares"])


def test_baselines_that_go_home_have_seen_all_that_may_train(make_config):
    cfg = make_config("evaluation.score_folds=3")
    data = prepare_data(cfg)
    judged = judged_on(data, cfg, [0, 1, 2])
    of_split, of_folds = fit_baselines(data), fit_baselines(judged)
    assert [b.name for b in of_folds] == [b.name for b in of_split]
    places = judged.places(0)
    for own, other in zip(of_split, of_folds, strict=True):
        assert other.val_pred.shape == judged.targets("val").shape
        if own.name == "ridge on views":  # the fold of the split is predicted as before
            np.testing.assert_allclose(other.val_pred[places], own.val_pred, rtol=1e-3, atol=1e-4)
            assert not np.allclose(other.test_pred, own.test_pred, rtol=1e-3)


@pytest.mark.parametrize("told", [True, False])  # by the version that settled it, or before
def test_the_report_shows_what_went_home_where_folds_validate_in_turn(
    make_config, make_arrays, told
):
    """Of the pool of both parts, boosting has enough samples; of the training part alone, not."""
    x = np.random.default_rng(0).normal(size=(400, 1, 8)).astype(np.float32)
    given = make_arrays(x, np.stack([x[:, 0, 0], x.mean(axis=(1, 2))], axis=1))
    cfg = make_config(*QUICK, "study.n_trials=1", "evaluation.n_seeds=3", **given)
    cfg = updated(cfg, {"evaluation.race_folds": 3, "evaluation.n_best": 1})
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    if not told:
        del evaluation["member_folds"]
    directory = winner_directory(resolve(cfg.paths.outputs_root), study.study_name)
    of_study = SettledStudy(evaluation, study_data(study, cfg), directory)
    found = evaluation["examination"]
    assert "gradient boosting" in {b.name for b in fit_baselines(of_study.judged)}
    assert "gradient boosting" not in {b.name for b in fit_baselines(of_study.data)}
    assert set(found["shares"]) - {NETWORK}
    y_true, y_pred = predicted_at_home(of_study)
    rmse = np.sqrt(((y_pred - y_true) ** 2).mean(axis=0))
    expected = [each["rmse"] for each in found["test"][name_at_home(found["shares"])].values()]
    np.testing.assert_allclose(rmse, expected, rtol=1e-4)


def test_what_is_asked_to_go_home_is_not_said_to_be_preferred(settled):
    """All seeds validated on the same samples, whatever goes home of it."""
    cfg, study = settled
    evaluation = load_evaluation(study, resolve(cfg.paths.outputs_root))
    assert not validated_in_turn(evaluation)
    found = evaluation["examination"]
    assert "which the validation part prefers" in sentence_on_home(found)
    assert "as `evaluation.take_home` asks" in sentence_on_home(found, "network")


def test_folds_of_another_number_are_trained_anew(make_config):
    settings = {"evaluation.n_best": 1, "evaluation.score_folds": 1, "evaluation.n_seeds": 3}
    settings["data_split.train_ratio"], settings["data_split.test_ratio"] = 0.7, 0.15
    cfg = make_config(*QUICK, "study.n_trials=1", **settings)
    root, members = resolve(cfg.paths.outputs_root), {}
    for n_folds in (3, 5, 3):
        cfg = updated(cfg, {"evaluation.race_folds": n_folds})
        found = settle_winner(run_study(cfg), cfg)["members"]
        assert members.setdefault(n_folds, found) == found
        saved = [load_member(root / member)[0] for member in found]
        assert {each.evaluation.race_folds for each in saved} == {n_folds}
    assert not set(members[3][1:]) & set(members[5][1:])


def test_what_is_said_of_the_data_later_reaches_the_bundle(make_config, make_arrays):
    cfg = make_config(*QUICK, "study.n_trials=1", "evaluation.n_seeds=1", **make_arrays())
    settle_winner(run_study(cfg), cfg)
    said = {
        "dataset.channel_names": ["a", "b", "c", "d"], "dataset.target_repeatability": [0.5, 0.5]
    }  # fmt: skip
    cfg = updated(cfg, said)
    data = prepare_data(cfg)
    before = looks_at_test(data)
    evaluation = settle_winner(run_study(cfg), cfg)
    assert looks_at_test(data) == before
    merit = evaluation["examination"]["merit"].values()
    assert [each["repeatability"] for each in merit] == [0.5, 0.5]
    root = resolve(cfg.paths.outputs_root)
    bundle = load_bundle(winner_directory(root, cfg.study.name) / "bundle")
    assert bundle.layout.channel_names == ["a", "b", "c", "d"]


def test_a_winner_whose_directory_is_gone_says_how_to_get_it_back(make_config):
    cfg = make_config(*QUICK, "study.n_trials=1", "evaluation.n_seeds=0")
    study = run_study(cfg)
    shutil.rmtree(resolve(cfg.paths.outputs_root) / study.best_trial.user_attrs["output_dir"])
    with pytest.raises(StudyError, match=r"is gone: set evaluation.n_seeds to 1 or more"):
        settle_winner(study, cfg)
