import pytest

from hpo_utils.base.config import load_config, updated
from hpo_utils.trials.sample_scale import batch_scale, fitted_entry, fitted_to_data
from hpo_utils.trials.search_space import load_search_space

SIGNALS = load_config("params/signals.yaml")


@pytest.mark.parametrize(
    ("n_samples", "scale"), [(40, 1), (1500, 1), (6000, 2), (17_500, 4), (100_000, 8)]
)
def test_batches_grow_with_the_root_of_the_samples(n_samples, scale):
    assert batch_scale(n_samples) == scale


def test_base_and_search_space_fit_together_and_keep_the_number_of_steps():
    cfg = fitted_to_data(SIGNALS, (24_000, 2, 100))
    space = load_search_space(cfg, 2)
    assert space.values_in(cfg)  # raises if the base lay outside
    assert (cfg.training.batch_size, cfg.training.epochs) == (32, 15)
    assert space.distributions["training.batch_size"].choices == (32, 64, 128)
    epochs = space.distributions["training.epochs"]
    assert (epochs.low, epochs.high, epochs.step) == (5, 15, 1)
    n_steps, few = 24_000 * 15 / 32, 1500 * 60 / 8
    assert n_steps == pytest.approx(few)
    assert fitted_to_data(cfg, (10**6, 2, 100)) == cfg  # once


def test_what_is_given_outright_stays():
    given = load_config("params/signals.yaml", ["training.epochs=33"])
    cfg = fitted_to_data(given, (24_000, 2, 100))
    assert (cfg.training.epochs, cfg.training.batch_size) == (33, 32)
    assert (
        fitted_to_data(updated(SIGNALS, {"study.batch_scale": 1}), (24_000, 2, 100)).training.epochs
        == 60
    )
    limited = fitted_to_data(updated(SIGNALS, {"dataset.limit": 500}), (24_000, 2, 100))
    assert limited.training.epochs == 60


def test_the_specification_has_its_table_whatever_the_data():
    cfg = load_config()
    assert fitted_to_data(cfg, (10**6, 2, 100)) == cfg


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((12_000, 1, 64, 64), 1),
        ((12_000, 1, 256, 256), 2),
        ((12_000, 1, 512, 512), 4),
        ((200_000, 8, 256), 1),
        ((1000, 100_000), 2),
        ((100_000, 3, 1024, 1024), 8),
    ],
)
def test_networks_get_narrower_where_a_training_would_take_hours(shape, scale):
    cfg = fitted_to_data(SIGNALS, shape)
    assert cfg.study.width_scale == scale
    assert cfg.model.hidden == 32 // scale
    space = load_search_space(cfg, 2)
    assert space.values_in(cfg)  # raises if the base lay outside
    widths = space.distributions["model.hidden"]
    assert (widths.low, widths.high) == (max(4, 16 // scale), 64 // scale)
    assert space.distributions["dataset.downsample_factor"].high == 2 * scale


def test_an_entry_that_is_wrong_stays_for_those_who_say_so():
    wrong = {"type": "int", "low": "a", "high": [1.5, "b"]}
    cfg = updated(SIGNALS, {"study.batch_scale": 4, "study.width_scale": 4})
    for name in ("training.epochs", "model.hidden", "dataset.downsample_factor"):
        assert fitted_entry(name, wrong, cfg) == wrong
    assert fitted_entry("training.batch_size", "nonsense", cfg) == "nonsense"
    nested = {"type": "categorical", "choices": [["a"], ["b"]]}
    assert fitted_entry("training.batch_size", nested, cfg) == nested


@pytest.mark.parametrize("budget", ["1min", "20min", "10h"])
@pytest.mark.parametrize("file", ["default", "signals", "airlift", "demo"])
def test_a_budget_shortens_the_trainings_and_the_base_stays_in_the_space(file, budget):
    given = load_config(f"params/{file}.yaml")
    cfg = fitted_to_data(updated(given, {"study.budget": budget}), (640, 4, 64, 128))
    assert load_search_space(cfg, 6).values_in(cfg)
    assert cfg.study.epoch_scale == 1 if budget == "10h" else cfg.study.epoch_scale >= 1
    assert file != "default" or budget != "1min" or cfg.study.epoch_scale == 16
    assert cfg.training.epochs == max(1, round(given.training.epochs / cfg.study.epoch_scale))


@pytest.mark.parametrize(("n_samples", "scale"), [(240, 1), (12_000, 4)])
def test_many_small_steps_take_time_as_well(n_samples, scale):
    """On signals of 24 values a step's own cost is all."""
    cfg = load_config("params/signals.yaml", ["study.budget=1min"])
    assert fitted_to_data(cfg, (n_samples, 9, 24)).study.epoch_scale == scale
