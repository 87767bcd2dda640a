"""The trials that begin a search."""

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from hpo_utils.base.config import load_config, with_target_weights
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.paths import resolve
from hpo_utils.study.search import run_study
from hpo_utils.trials.first_trials import first_trials
from hpo_utils.trials.search_space import load_search_space
from hpo_utils.trials.storage import enqueued_params, open_storage

GIVEN = [
    {"model.dropout_rate": 0.4, "training.use_weighted_loss": False},
    {"model.dropout_rate": 0.1, "training.use_weighted_loss": False},
]


@pytest.fixture
def given(make_config, tmp_path):
    """Return a function that gives configuration and space for entries of a file."""

    def make(entries, *overrides, **dotted):
        file = tmp_path / "first.yaml"
        file.write_text(entries if isinstance(entries, str) else yaml.safe_dump(entries))
        cfg = make_config(*overrides, **{"study.first_trials": str(file), **dotted})
        cfg = with_target_weights(cfg, 6)
        return cfg, load_search_space(cfg, 6)

    return make


def test_what_an_entry_does_not_name_is_as_in_the_base(given):
    cfg, space = given(GIVEN)
    base, *others = first_trials(cfg, space)
    assert base == space.values_in(cfg)
    free = {name: v for name, v in base.items() if not name.startswith("training.weight_target")}
    free["training.use_weighted_loss"] = False
    for entry, params in zip(GIVEN, others, strict=True):
        assert params == {**free, **entry}
    cfg, space = given(GIVEN, "study.try_base=false")
    assert first_trials(cfg, space) == others


def test_what_is_not_searched_or_held_stays_and_none_is_there_twice(given):
    twins = [*GIVEN, {**GIVEN[0], "training.seed": 7}]
    cfg, space = given(twins)
    assert len(first_trials(cfg, space)) == 3
    cfg, space = given(GIVEN, "model.dropout_rate=0.2", "training.use_weighted_loss=false")
    assert first_trials(cfg, space) == [space.values_in(cfg)]


def test_a_trial_outside_the_space_is_left_out(given):
    cfg, space = given([{"model.dropout_rate": 0.99}, {"model.dropout_rate": "much"}, GIVEN[1]])
    assert [p["model.dropout_rate"] for p in first_trials(cfg, space)[1:]] == [0.1]


@pytest.mark.parametrize("entries", ["- [1", "a: 1", "- 3", "- [a]"])
def test_a_file_of_anything_else_is_refused(given, entries):
    with pytest.raises(ConfigError, match=r"study.first_trials must .*first.yaml"):
        first_trials(*given(entries))


def test_a_file_that_is_missing_is_said(make_config):
    cfg = with_target_weights(make_config(**{"study.first_trials": "nowhere.yaml"}), 6)
    with pytest.raises(ConfigError, match=r"nowhere.yaml"):
        first_trials(cfg, load_search_space(cfg, 6))


def test_a_search_begins_with_them_once_and_leaves_none_waiting(given, instant):
    cfg, space = given(GIVEN, "study.n_trials=2")
    first = first_trials(cfg, space)
    study = run_study(cfg)
    assert [trial.params for trial in study.trials] == first[:2]
    cfg.study.n_trials = 5
    study = run_study(cfg)
    assert [trial.params for trial in study.trials[:3]] == first
    assert [enqueued_params(trial) is None for trial in study.trials] == [False] * 3 + [True] * 2
    stored = optuna.load_study(study_name=study.study_name, storage=open_storage(cfg))
    assert not [t for t in stored.trials if t.state == TrialState.WAITING]


@pytest.mark.parametrize("name", ["signals", "tecator", "cranfield"])
def test_those_that_come_along_lie_in_their_space(name):
    cfg = with_target_weights(load_config(f"params/{name}.yaml"), 3)
    n_given = len(yaml.safe_load(resolve(cfg.study.first_trials).read_text(encoding="utf-8")))
    assert len(first_trials(cfg, load_search_space(cfg, 3))) == 1 + n_given


def test_widths_batches_and_epochs_are_fitted_to_the_data():
    scales = ["study.batch_scale=4", "study.width_scale=2", "study.epoch_scale=2"]
    cfg = with_target_weights(load_config("params/signals.yaml", scales), 3)
    entries = yaml.safe_load(resolve(cfg.study.first_trials).read_text(encoding="utf-8"))
    cfg.training.batch_size *= 4  # as fitted_to_data does
    cfg.training.epochs //= 8
    cfg.model.hidden //= 2
    for entry, params in zip(
        entries, first_trials(cfg, load_search_space(cfg, 3))[1:], strict=True
    ):
        assert params["training.batch_size"] == 4 * entry["training.batch_size"]
        assert params["model.hidden"] == entry["model.hidden"] // 2
        assert params["training.epochs"] == pytest.approx(entry["training.epochs"] / 8, abs=0.5)


def test_a_misspelt_setting_is_said(given):
    with pytest.raises(ConfigError, match="must name settings that can be searched, got 'model.hi"):
        first_trials(*given([{"model.hiden": 8}]))
