"""A user's own study is never taken for one beside another, whatever it is called."""

import optuna
import pytest

from hpo_utils.study.companions import companion_name, companion_of, companions_of, own_names
from hpo_utils.study.search import load_existing_study, open_storage, run_study

pytestmark = pytest.mark.usefixtures("instant")
NAMES = ["smoke-again", "smoke-random-split", "smoke-all-folds", "smoke-fold-1",
         "smoke-fold-1-again", "smoke-fold-0-20261129-120000"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_starting_over_leaves_a_study_of_the_users_alone(make_config, tmp_path, name):
    own = make_config(**{"study.n_trials": 1, "study.name": name})
    cfg = make_config(**{"study.n_trials": 1})
    kept = run_study(own)
    run_study(cfg)
    run_study(make_config(**{"study.n_trials": 1, "study.delete_study": True}))
    storage = open_storage(cfg)
    assert name in optuna.get_all_study_names(storage)
    assert len(kept.trials) == len(load_existing_study(own).trials) == 1
    assert companions_of(storage, "smoke", tmp_path / "runs") == {}
    suffix = name.removeprefix("smoke-")
    assert companion_name(storage, "smoke", suffix, tmp_path / "runs") == f"{name}-2"


def marked(storage, name, parent, signature=None):
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr("companion_of", parent)
    if signature is not None:
        study.set_user_attr("signature", signature)
    return study


@pytest.mark.parametrize("name", NAMES[:4])
def test_a_companion_is_no_study_of_the_users(make_config, tmp_path, name):
    root, cfg = tmp_path / "runs", make_config(**{"study.n_trials": 1, "study.name": name})
    storage = open_storage(cfg)
    marked(storage, name, "smoke")
    assert own_names(storage, name, root) == []
    assert [*companions_of(storage, "smoke", root)] == [name]
    assert companion_name(storage, "smoke", name.removeprefix("smoke-"), root) == name
    mine = run_study(cfg)  # under a name of its own
    assert mine.study_name != name
    assert load_existing_study(cfg).study_name == mine.study_name
    run_study(make_config(**{
        "study.n_trials": 1, "study.name": name, "study.delete_study": True,
    }))  # fmt: skip
    assert name in optuna.get_all_study_names(storage)


def test_companions_of_an_earlier_version_are_found(make_config, tmp_path):
    """They have no mark: trainings have no signature, searches settings that no other has."""
    root, cfg = tmp_path / "runs", make_config()
    storage = open_storage(cfg)
    again = optuna.create_study(study_name="smoke-again", storage=storage)
    again.enqueue_trial({"training.seed": 3})
    assert companion_of(again, root) == "smoke"
    fold = optuna.create_study(study_name="smoke-fold-1", storage=storage)
    fold.set_user_attr("signature", {})
    assert companion_of(fold, root) is None
    trial = fold.ask()
    trial.set_user_attr("output_dir", "a/b")
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/config.yaml").write_text(
        "evaluation: {other_folds: none, compare_random_split: false}\n"
    )
    assert companion_of(fold, root) == "smoke"
    assert companion_name(storage, "smoke", "fold-1", root) == "smoke-fold-1"
    assert companion_name(storage, "smoke", "again", root) == "smoke-again"


@pytest.mark.parametrize(("name", "papermills"), [
    ("2026", 2026), ("001", 1), ("2026_11_29", 20261129), ("1e5", 1e5), ("1_2", 12), ("007", 7),
])  # fmt: skip
def test_a_name_of_digits_may_come_from_papermill(make_config, name, papermills):
    cfg = make_config(**{"study.n_trials": 1, "study.name": name})
    run_study(cfg)
    assert load_existing_study(make_config(), papermills).study_name == name
    assert load_existing_study(cfg).study_name == name
