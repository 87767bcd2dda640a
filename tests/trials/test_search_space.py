import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo_utils.base.config import load_config, select, updated, with_target_weights
from hpo_utils.base.errors import SearchSpaceError
from hpo_utils.base.paths import project_root
from hpo_utils.trials.search_space import contains, load_search_space, suggest_hyperparameters

SPECIFIED = {
    "model.hidden": IntDistribution(32, 128, step=16),
    "model.dropout_rate": FloatDistribution(0.0, 0.5, step=0.05),
    "model.use_residual": CategoricalDistribution([True, False]),
    "training.learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "training.batch_size": CategoricalDistribution([2, 4, 8]),
    "training.weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
    "dataset.downsample_factor": IntDistribution(1, 4),
    "training.epochs": IntDistribution(50, 200, step=50),
    "training.use_weighted_loss": CategoricalDistribution([True, False]),
    **{f"training.weight_target_{k}": FloatDistribution(0.1, 10.0) for k in range(6)},
}


def space_from(tmp_path, content, *overrides, n_targets=2):
    file = tmp_path / "space.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    cfg = load_config(None, overrides, **{"study.search_space": str(file)})
    return load_search_space(cfg, n_targets), with_target_weights(cfg, n_targets)


def trial_of(params=None):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    if params is not None:
        study.enqueue_trial(params)
    return study.ask()


@pytest.mark.parametrize("line", [
    "{type: float, low: 1e-6, high: 1e-3, log: true}", "{type: categorical, choices: [1e-6, 0.001]}"
])  # fmt: skip
def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path, line):
    space, _ = space_from(tmp_path, f"training.weight_decay: {line}\n")
    (found,) = space.distributions.values()
    ends = (found.low, found.high) if hasattr(found, "low") else found.choices
    assert tuple(ends) == (1e-6, 1e-3)


def test_whole_numbers_have_whole_ends(tmp_path):
    with pytest.raises(SearchSpaceError, match=r"high of model.hidden must be a whole .* got 32.7"):
        space_from(tmp_path, "model.hidden: {type: int, low: 8, high: 32.7}\n")


def test_the_default_space_is_the_documented_one():
    assert load_search_space(load_config(), 6).distributions == SPECIFIED


PARAMS = [
    file
    for file in sorted((project_root() / "params").glob("*.yaml"))
    if not file.name.startswith(("search_space", "first_trials"))
]


@pytest.mark.parametrize("file", PARAMS)
def test_every_params_file_lies_in_its_space(file):
    cfg = load_config(file)
    n_targets = len(cfg.dataset.target_names or range(6))
    space = load_search_space(cfg, n_targets)
    assert space.values_in(with_target_weights(cfg, n_targets))
    assert {"model.hidden", "training.weight_target_0"} <= set(space.distributions)


def test_a_trial_changes_what_it_samples_and_nothing_else():
    cfg = with_target_weights(load_config(), 6)
    space = load_search_space(cfg, 6)
    trial = trial_of()
    sampled = suggest_hyperparameters(trial, cfg, space)
    for name, value in trial.params.items():
        assert select(sampled, name) == value
    assert updated(sampled, {name: select(cfg, name) for name in trial.params}) == cfg


@pytest.mark.parametrize("residual", [True, False])
def test_a_setting_may_be_sampled_where_another_is_off(residual):
    cfg = with_target_weights(load_config("params/signals.yaml"), 2)
    space = load_search_space(cfg, 2)
    trial = trial_of({"model.use_residual": residual})
    suggest_hyperparameters(trial, cfg, space)
    of_plain = {"model.depth", "model.kernel_size"}
    assert of_plain & trial.params.keys() == (set() if residual else of_plain)
    assert (of_plain <= space.values_in(cfg).keys()) is not cfg.model.use_residual


def test_a_condition_that_is_no_setting_is_said(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("model.depth: {type: int, low: 2, high: 4, if: not model.residual}\n")
    cfg = load_config(**{"study.search_space": str(file)})
    with pytest.raises(SearchSpaceError, match="or one after 'not', got 'not model.residual'"):
        load_search_space(cfg, 2)


@pytest.mark.parametrize("weighted", [True, False])
def test_weights_are_sampled_only_where_they_are_used(weighted):
    cfg = with_target_weights(load_config(), 6)
    space = load_search_space(cfg, 6)
    trial = trial_of({"training.use_weighted_loss": weighted})
    suggest_hyperparameters(trial, cfg, space)
    weights = [name for name in trial.params if "weight_target" in name]
    assert len(weights) == (6 if weighted else 0)


def test_one_target_has_no_weights_to_search():
    cfg = load_config("params/demo.yaml", ["study.fixed=['training.weight_target_*']"])
    names = [p.name for p in load_search_space(cfg, 1).parameters]
    assert "training.learning_rate" in names
    assert not [name for name in names if "weight_target" in name or "weighted" in name]


def test_a_held_parameter_leaves_the_space():
    cfg = load_config(None, ["training.epochs=30", "training.use_weighted_loss=true"])
    space = load_search_space(cfg, 2)
    assert "training.epochs" not in space.distributions
    trial = trial_of()
    sampled = suggest_hyperparameters(trial, with_target_weights(cfg, 2), space)
    assert sampled.training.epochs == 30
    assert "training.weight_target_1" in trial.params  # its condition is held at true


def test_fixed_may_name_a_pattern():
    cfg = load_config(**{"study.fixed": ["training.weight_target_*"]})
    assert not any("weight_target" in name for name in load_search_space(cfg, 6).distributions)


def test_all_held_is_said(tmp_path):
    with pytest.raises(SearchSpaceError, match="at least one parameter must be searched"):
        space_from(tmp_path, {"training.epochs": {"type": "int", "low": 1, "high": 3}},
                   "training.epochs=2")  # fmt: skip


def test_the_digest_changes_with_the_space():
    digests = {load_search_space(load_config(), n).digest for n in (2, 3)} | {
        load_search_space(load_config(None, ["model.hidden=32"]), 2).digest
    }
    assert len(digests) == 3
    assert load_search_space(load_config(), 2).digest in digests


def test_a_base_outside_the_space_is_said():
    cfg = with_target_weights(load_config(**{"model.hidden": 70}), 2)
    with pytest.raises(SearchSpaceError, match=r"model.hidden = 70 is not in 32 to 128 in steps"):
        load_search_space(cfg, 2).values_in(cfg)


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (IntDistribution(8, 32, step=8), [8, 24, 32], [7, 12, 40, 8.5, True, "8"]),
        (FloatDistribution(0, 0.5, step=0.05), [0, 0.15, 0.3, 0.5], [0.51, 0.12, "x"]),
        (FloatDistribution(1e-5, 1e-2, log=True), [1e-5, 3e-4], [0.0, 0.02]),
        (CategoricalDistribution([2, 4]), [2, 4], [3, "2"]),
    ],
)
def test_contains(distribution, inside, outside):
    assert all(contains(distribution, value) for value in inside)
    assert not any(contains(distribution, value) for value in outside)


def test_fit_finds_what_could_have_been_sampled():
    cfg = with_target_weights(load_config(**{"study.fixed": ["training.epochs"]}), 2)
    space = load_search_space(cfg, 2)
    base = space.values_in(cfg)
    assert space.fit(base, cfg) == base
    assert space.fit({**space.held_in(cfg), **base}, cfg) == base  # the values that are held
    weighted = {"training.use_weighted_loss": True, "training.weight_target_0": 3.0,
                "training.weight_target_1": 1.0}  # fmt: skip
    assert space.fit({**base, **weighted}, cfg) == {**base, **weighted}
    unused = {
        **base,
        "training.weight_target_0": 1e6,
    }  # which is not in use
    assert space.fit(unused, cfg) == base
    without = {name: value for name, value in base.items() if name != "model.hidden"}
    for settings, reason in (
        ({**base, "training.epochs": 50}, "training.epochs is held at"),
        ({**base, "model.hidden": 33}, "model.hidden is not in"),
        ({**base, "training.use_weighted_loss": True}, "weight_target_0 is searched now"),
        (without, "model.hidden is searched now"),
        ({**base, "model.layers": 3}, "model.layers is no setting any more"),
    ):
        with pytest.raises(SearchSpaceError, match=reason):
            space.fit(settings, cfg)


def test_held_values_are_all_that_is_not_searched():
    cfg = with_target_weights(load_config(None, ["training.epochs=30"]), 2)
    held = load_search_space(cfg, 2).held_in(cfg)
    assert held == {
        "training.epochs": 30, "training.averaging_epochs": 0.5, "training.seed": 42,
        "training.schedule": "wsd", "training.patience": 10, "training.precision": "auto",
        "model.use_statistics": False, "model.constrain_outputs": True,
        "model.linear_start": True, "model.use_views": True, "dataset.thinning": "mean",
    }  # fmt: skip


def test_a_name_that_is_held_must_exist():
    with pytest.raises(SearchSpaceError, match="study.fixed must name settings, .* 'modle.hidden'"):
        load_search_space(load_config(**{"study.fixed": ["modle.hidden"]}), 2)


def test_a_space_in_which_nothing_is_ever_searched_is_said(tmp_path):
    weight = {"type": "float", "low": 0.1, "high": 10.0, "if": "training.use_weighted_loss"}
    with pytest.raises(SearchSpaceError, match=r"search training\.use_weighted_loss as well"):
        space_from(tmp_path, {"training.weight_target_*": weight})
    space_from(tmp_path, {"training.weight_target_*": weight}, "training.use_weighted_loss=true")


def test_a_condition_must_come_first(tmp_path):
    text = """
training.weight_decay: {type: float, low: 0, high: 1, if: training.use_weighted_loss}
training.use_weighted_loss: {type: categorical, choices: [true, false]}
"""
    with pytest.raises(SearchSpaceError, match="weight_decay above training.use_weighted_loss"):
        space_from(tmp_path, text)


BAD_SPACES = [
    ("[1, 2]", "must map settings to ranges"),
    ("", "must map settings to ranges"),
    ("a: [", "readable YAML file"),
    ({"model.hiden": {"type": "int", "low": 1, "high": 2}}, "got 'model.hiden'"),
    ({"study.seed": {"type": "int", "low": 1, "high": 2}}, "got 'study.seed'"),
    ({"data_split.seed": {"type": "int", "low": 1, "high": 2}}, "got 'data_split.seed'"),
    ({"model.hidden": 3}, "model.hidden must have a type of int, float, categorical, got 3"),
    ({"model.hidden": {"type": "integer", "low": 1, "high": 2}}, "must have a type"),
    ({"model.hidden": {"type": "int", "low": 9, "high": 2}}, "must have a valid range"),
    ({"model.hidden": {"type": "int", "low": 1}}, "must have a valid range"),
    ({"model.hidden": {"type": "int", "low": 1, "high": 9, "step": 0}}, "must have a valid range"),
    ({"model.hidden": {"type": "int", "low": 1, "hihg": 9}}, "must have a valid range"),
    ({"model.hidden": {"type": "int", "low": "a", "high": "b"}}, "model.hidden"),
    ({"training.weight_decay": {"type": "float", "low": 0, "high": 1, "log": True}}, "valid range"),
    ({"training.batch_size": {"type": "categorical", "choices": []}}, "must have a valid range"),
    ({"training.batch_size": {"type": "categorical", "choices": [0, 4]}}, "batch_size must lie"),
    ({"training.batch_size": {"type": "categorical", "choices": ["a"]}}, "training.batch_size"),
    ({"model.dropout_rate": {"type": "float", "low": 0, "high": 2}}, "dropout_rate must lie"),
    ({"model.hidden": {"type": "int", "low": 1, "high": 2, "if": "model.deep"}}, "model.deep"),
    ({"model.hidden": {"type": "int", "low": 1, "high": 2, "if": "model.hidden"}}, "true/false"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"), BAD_SPACES, ids=[str(row[0]) for row in BAD_SPACES]
)
def test_a_bad_space_is_one_sentence(tmp_path, content, message):
    with pytest.raises(SearchSpaceError, match=message) as caught:
        space_from(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_space_is_said():
    with pytest.raises(SearchSpaceError, match="must name a readable YAML file, got 'no.yaml'"):
        load_search_space(load_config(**{"study.search_space": "no.yaml"}), 2)
