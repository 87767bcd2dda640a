"""Text settings keep what was written, from a file, through overrides, and through papermill."""

import pytest
import yaml

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.parameters import load_notebook_config
from hpo_utils.base.written import as_meant, read_written

# words that YAML 1.1 takes for truth values, numbers, dates and times
WORDS = ["NO", "on", "y", "Yes", "off", "TRUE", "001", "012", "1_2", "1e3", "1.0e+3", "0x1F",
         "0b11", "12:30", "1:30.5", "2026-11-29", "2026-13-45", "2026_11_29", ".inf", ".nan",
         "-.5", "+1", "0o7", "08"]  # fmt: skip
NAMES = [word for word in WORDS if word.replace("_", "").replace("-", "").isalnum()]


@pytest.mark.parametrize("word", WORDS)
def test_a_target_is_called_as_it_is_written(tmp_path, word):
    file = tmp_path / "p.yaml"
    file.write_text(f"dataset: {{target_names: [{word}, b]}}\nevaluation:\n  target: {word}\n")
    cfg = load_config(file)
    assert list(cfg.dataset.target_names) == [word, "b"]
    assert cfg.evaluation.target == word


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_an_override_says_the_same_with_quotes_and_without(word, quote):
    word, text = quote + word + quote, word
    given = f"evaluation.target={word} dataset.channel_names=[{word},b]"
    cfg = load_notebook_config("params/smoke.yaml", given)
    assert cfg.evaluation.target == text
    assert list(cfg.dataset.channel_names) == [text, "b"]


@pytest.mark.parametrize("word", NAMES)
def test_a_study_is_called_as_it_is_written_and_saved(tmp_path, word):
    file = tmp_path / "p.yaml"
    file.write_text(f"study: {{name: {word}}}\n")
    cfg = load_config(file)
    assert cfg.study.name == word
    saved = tmp_path / "config.yaml"
    saved.write_text(yaml.safe_dump({"study": {"name": cfg.study.name}}))
    assert load_config(saved).study.name == word


@pytest.mark.parametrize("word", ["null", "~", "Null", ""])
def test_null_for_text_asks_for_quotes(tmp_path, word):
    file = tmp_path / "p.yaml"
    file.write_text(f"study:\n  name: {word}\n")
    with pytest.raises(ConfigError, match=r"study\.name must be text, got .*: if it is called so"):
        load_config(file)
    file.write_text("dataset: {target_names: [null, b]}\n")
    with pytest.raises(ConfigError, match="entry of dataset.target_names must be text.*'null'"):
        load_config(file)
    assert load_config(None, ["evaluation.target=null"]).evaluation.target is None
    assert load_config(None, ["evaluation.target='null'"]).evaluation.target == "null"


@pytest.mark.parametrize("value", [True, 0.5, float("nan")])
def test_a_value_that_is_no_text_asks_for_quotes(value):
    with pytest.raises(ConfigError, match=r"study\.name must be text, got .*: write '"):
        load_config(**{"study.name": value})
    assert load_config(**{"study.name": 7}).study.name == "7"


def test_other_settings_are_read_as_before(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        "study: {try_base: no, timeout: 1_000}\ntraining: {patience: null, epochs: 30}\n"
        "base: &base {hidden: 8}\nmodel:\n  <<: *base\n  use_residual: off\n"
    )
    content = as_meant(read_written(file.read_text()), dict)
    assert content["model"] == {"hidden": 8, "use_residual": False}
    file.write_text(file.read_text().replace("base: &base {hidden: 8}\n", "")
                    .replace("<<: *base", "hidden: 8"))  # fmt: skip
    cfg = load_config(file)
    assert (cfg.study.try_base, cfg.study.timeout, cfg.training.patience) == (False, 1000.0, None)
    assert (cfg.model.hidden, cfg.model.use_residual) == (8, False)


def test_formulas_keep_their_backslash_in_double_quotes():
    cfg = load_notebook_config("params/smoke.yaml", r'dataset.target_names=["$\alpha$",b]')
    assert list(cfg.dataset.target_names) == [r"$\alpha$", "b"]


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "p.yaml"
    for content, name in (
        ("training: {epochs: 1}\nmodel: {hidden: 4}\ntraining: {patience: 3}\n", "training"),
        ("training:\n  epochs: 1\n  epochs: 2\n", "epochs"),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match=f"{name} stands twice"):
            load_config(file)


def test_one_value_may_stand_for_a_list_of_it():
    cfg = load_config(None, ["dataset.missing_values=-9999", "dataset.target_names=flow"])
    assert (cfg.dataset.missing_values, cfg.dataset.target_names) == ([-9999.0], ["flow"])
    assert load_config(None, ["dataset.axis_ranges=[0, 1]"]).dataset.axis_ranges == [[0.0, 1.0]]
    assert load_config(None, ["dataset.axis_ranges=null"]).dataset.axis_ranges is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.target_names={a: 1}", r"dataset.target_names must be a list, got \{'a': 1\}"),
        ("dataset.target_names=[[a], b]", r"an entry of dataset.target_names must be text"),
        ("dataset.card=[a]", r"dataset.card must hold names with a value each, got \['a'\]"),
        ("dataset.card={creator: [A, B]}", r"dataset.card.creator must be text"),
    ],
)
def test_a_value_of_another_form_is_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])
