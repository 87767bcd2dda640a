import pytest

from hpo_utils.base import parameters
from hpo_utils.base.errors import ConfigError, ParameterError
from hpo_utils.base.parameters import (
    as_bool,
    as_int,
    as_text,
    load_notebook_config,
    split_overrides,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("true", True), ("Yes", True), ("1", True), (1, True), (False, False),
     ("false", False), ("no", False), ("off", False), (0, False), (None, None), ("null", None)],
)  # fmt: skip
def test_booleans_are_read_from_the_words_papermill_leaves(value, expected):
    assert as_bool("delete_study", value) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), ("3", 3), (3.0, 3), ("1e2", 100), (None, None), ("", None)]
)
def test_whole_numbers_are_read_from_text(value, expected):
    assert as_int("n_trials", value) == expected


@pytest.mark.parametrize("value", ["many", 1.5, "1.5", True, [3], float("inf"), "nan"])
def test_what_is_no_whole_number_is_rejected(value):
    with pytest.raises(ParameterError, match="n_trials must be a whole number, got"):
        as_int("n_trials", value)


def test_what_is_no_truth_value_is_rejected():
    with pytest.raises(ParameterError, match="must be true or false, got 'maybe'"):
        as_bool("delete_study", "maybe")


def test_text_must_be_text():
    assert as_text("study_name", "none") is None
    assert as_text("study_name", 2026) == "2026"  # papermill turns -p study_name 2026 into a number
    with pytest.raises(ParameterError, match=r"study_name must be text, got \[3\]"):
        as_text("study_name", [3])


def test_overrides_are_a_string_or_a_list():
    assert split_overrides("a.b=1 c.d='x y/入力.npy'") == ["a.b=1", "c.d='x y/入力.npy'"]
    assert split_overrides("a.b=x' 'y") == ["a.b=x y"]
    assert split_overrides(r"""a.b=C:\data\x.npy 'c.d=D:\my data\t.npy' e.f=#1""") == [
        r"a.b=C:\data\x.npy", r"c.d=D:\my data\t.npy", "e.f=#1",
    ]  # fmt: skip
    assert split_overrides("a.b=[1,2] c.d={e: 3}") == ["a.b=[1,2]", "c.d={e:", "3}"]
    assert split_overrides(["a.b=1"]) == ["a.b=1"]
    assert split_overrides(None) == split_overrides("") == []
    with pytest.raises(ParameterError, match="quotes in pairs"):
        split_overrides("a.b='1")
    with pytest.raises(ParameterError, match="must be a string"):
        split_overrides({"a": 1})


def test_parameters_reach_the_configuration():
    cfg = load_notebook_config(
        "params/smoke.yaml", "model.hidden=4", n_trials="5", delete_study="false", n_workers=None
    )
    assert (cfg.study.n_trials, cfg.study.delete_study, cfg.study.n_workers) == (5, False, 1)
    assert cfg.model.hidden == 4


def test_zero_trials_are_rejected():
    with pytest.raises(ConfigError, match="study.n_trials must lie between 1 and"):
        load_notebook_config("params/smoke.yaml", n_trials=0)


def test_names_are_those_of_the_last_cell_that_papermill_marked():
    cells = [
        "n_trials: int = 3",
        "# Parameters\na = 1\n",
        "x = 2",
        "# Parameters\nb = 1\nc = 'd'\n",
    ]
    assert parameters.injected_names(cells) == ["b", "c"]
    assert parameters.injected_names(["n_trials = 3"]) == []


def test_a_misspelt_parameter_is_rejected_with_the_nearest_name(monkeypatch):
    monkeypatch.setattr(parameters, "_executed_cells", lambda: ["# Parameters\nn_trails = 3\n"])
    with pytest.raises(ParameterError, match="got 'n_trails': did you mean n_trials?"):
        load_notebook_config("params/smoke.yaml", n_trials=None)


def test_a_setting_that_is_no_parameter_is_pointed_to_overrides(monkeypatch):
    monkeypatch.setattr(parameters, "_executed_cells", lambda: ["# Parameters\nepochs = 3\n"])
    with pytest.raises(ParameterError, match='goes through overrides, as in -p overrides "'):
        load_notebook_config("params/smoke.yaml", n_trials=None)
