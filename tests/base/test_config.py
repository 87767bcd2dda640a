import pytest
import yaml

from hpo_utils.base.config import (
    as_dict,
    config_from_dict,
    has_key,
    load_config,
    select,
    updated,
    with_target_weights,
)
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.paths import project_root


def test_default_yaml_says_what_the_dataclasses_say():
    """The file that people read and the code's defaults cannot drift apart."""
    file = yaml.safe_load((project_root() / "params" / "default.yaml").read_text())
    cfg = load_config()
    for section, values in file.items():
        for key, value in values.items():
            assert select(cfg, f"{section}.{key}") == value
    assert as_dict(cfg) == as_dict(config_from_dict({}))


@pytest.mark.parametrize("file", sorted((project_root() / "params").glob("*.yaml")), ids=str)
def test_every_params_file_loads(file):
    if not file.name.startswith(("search_space", "first_trials")):
        assert load_config(file).study.n_trials >= 1


def test_later_layers_win(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("model: {hidden: 16, dropout_rate: 0.1}\ntraining: {epochs: 7}\n")
    cfg = load_config(file, ["model.hidden=24"], **{"training.epochs": 9, "study.n_trials": None})
    assert (cfg.model.hidden, cfg.model.dropout_rate) == (24, 0.1)
    assert (cfg.training.epochs, cfg.study.n_trials) == (9, 20)


def test_an_override_of_a_searchable_setting_holds_it():
    cfg = load_config(None, ["training.epochs=30", "study.n_trials=3", "dataset.name=a"])
    assert list(cfg.study.fixed) == ["training.epochs"]


def test_text_numbers_of_yaml_are_read_as_numbers(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("training: {learning_rate: 1e-3}\n")  # YAML 1.1 reads text here
    assert load_config(file).training.learning_rate == 0.001


def test_target_weights_are_added_and_keep_their_values():
    cfg = with_target_weights(load_config(None, ["training.weight_target_1=5"]), 3)
    assert [getattr(cfg.training, f"weight_target_{k}") for k in range(3)] == [1.0, 5.0, 1.0]
    assert not has_key(cfg, "training.weight_target_3")


def test_weights_must_belong_to_a_target_and_not_all_be_zero():
    with pytest.raises(ConfigError, match="must name one of 2 targets, 0 to 1"):
        with_target_weights(load_config(None, ["training.weight_target_2=5"]), 2)
    zero = load_config(None, ["training.weight_target_0=0", "training.weight_target_1=0"])
    with pytest.raises(ConfigError, match="must not be 0 for all targets"):
        with_target_weights(zero, 2)
    assert with_target_weights(zero, 3)


def test_a_saved_configuration_loads_to_the_same(tmp_path):
    cfg = with_target_weights(load_config("params/demo.yaml", ["training.epochs=3"]), 6)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(as_dict(cfg)))
    assert as_dict(load_config(file)) == as_dict(cfg)


def test_updated_leaves_the_original_alone():
    cfg = load_config()
    assert updated(cfg, {"model.hidden": 32}).model.hidden == 32
    assert cfg.model.hidden == 64


WRONG = [
    ("model.hiden=3", "model.hiden.*Did you mean: 'hidden'"),
    ("modell.hidden=3", "modell.*Did you mean: 'model'"),
    ("model.hidden=many", "model.hidden.*'many'.*Integer"),
    ("model.hidden=1.5", "model.hidden"),
    ("model.hidden=0", "model.hidden must lie between 1 and 4096, got 0"),
    ("model.dropout_rate=1", "model.dropout_rate must lie between 0 and 0.95, got 1.0"),
    ("training.learning_rate=nan", "training.learning_rate must lie between .* got nan"),
    ("training.learning_rate=-1", "training.learning_rate must lie between"),
    ("training.epochs=null", "training.epochs"),
    ("training.epochs=0", "training.epochs must lie between 1 and"),
    ("training.weight_target_0=-1", "training.weight_target_0 must be at least 0 and finite"),
    ("training.weight_target_x=1", "training.weight_target_x"),
    ("data_split.train_ratio=0.8", "must be 1, got 0.8 \\+ 0.15 \\+ 0.15 = 1.1"),
    ("study.n_trials=0", "study.n_trials must lie between 1 and"),
    ("study.pruner=hyper", "study.pruner must be one of median, none, got 'hyper'"),
    ("study.name=../x", "study.name must consist of letters"),
    ("dataset.name=", "dataset.name"),
    ("dataset.x_train=a.npy", "add dataset.t_train"),
    ("dataset.t_train=a.npy", "add dataset.x_train"),
    ("dataset.limit=0", "dataset.limit must lie between 1 and"),
    ("training.epochs=[1", "overrides must be readable, got training.epochs=\\[1"),
    ("study.storage=${nope}", "nope"),
    ("training.batch_size=1", "training.batch_size must lie between 2 and"),
    ("training.epochs = 3", "form section.key=value"),
    ("epochs", "form section.key=value"),
]


@pytest.mark.parametrize(("override", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_setting_is_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(None, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must exist"),
        ("model: [", "readable YAML"),
        ("- a\n- b\n", "keys and values"),
        ("model: 3\n", "section model must hold settings by name"),
        ("model: !!python/object/apply:os.getcwd []\n", "readable YAML"),
    ],
)
def test_a_wrong_params_file_is_one_sentence(tmp_path, content, message):
    file = tmp_path / "p.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(file)
    assert "\n" not in str(caught.value)
