import re

import optuna
import pytest

from hpo_utils.base.config import as_dict, load_config
from hpo_utils.base.errors import StudyError
from hpo_utils.base.paths import write_yaml
from hpo_utils.training.directory import create_trial_output_dir, find_trial_output_dir
from hpo_utils.training.record import environment, finite, with_saved_compute


def test_directories_are_named_by_day_and_second_and_never_shared(tmp_path):
    made = [create_trial_output_dir(tmp_path) for _ in range(5)]
    assert len(set(made)) == 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", str(made[0].relative_to(tmp_path)))
    assert all(re.fullmatch(r"\d\d-\d\d-\d\d(-\d+)?", d.name) for d in made)
    assert {f.name for f in made[0].iterdir()} == {"logs", "weights", "evaluation_plots"}


def test_a_training_goes_on_with_the_threads_and_the_precision_it_began_with(tmp_path):
    began = load_config(None, ["training.n_threads=3", "training.precision=bfloat16"])
    write_yaml(tmp_path / "config.yaml", as_dict(began))
    left_open = load_config(None, ["model.hidden=16"])
    assert with_saved_compute(left_open, tmp_path).training == began.training
    assert with_saved_compute(left_open, tmp_path).model.hidden == 16
    wanted = load_config(None, ["training.n_threads=2", "training.precision=float32"])
    assert with_saved_compute(wanted, tmp_path) == wanted


def test_a_trials_directory_is_found_by_its_number(tmp_path):
    study = optuna.create_study()
    made = create_trial_output_dir(tmp_path)
    trial = study.ask()
    trial.set_user_attr("output_dir", str(made.relative_to(tmp_path)))
    study.tell(trial, 1.0)
    study.tell(study.ask(), 1.0)
    assert find_trial_output_dir(study, 0, tmp_path) == made
    with pytest.raises(StudyError, match="trial 1 of study .* must have its directory"):
        find_trial_output_dir(study, 1, tmp_path)
    for number in (-1, 2):
        with pytest.raises(StudyError, match=f"must lie between 0 and 1, .* got {number}"):
            find_trial_output_dir(study, number, tmp_path)


def test_histories_become_json_numbers():
    assert finite({"a": [1.0, float("nan"), float("inf")]}) == {"a": [1.0, None, None]}


def test_the_environment_names_versions_and_machine():
    known = environment()
    assert known["packages"]["optuna"].startswith("5.")
    assert known["machine"]
