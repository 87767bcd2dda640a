import pytest

from hpo_utils.base.config import load_config, updated
from hpo_utils.trials.sample_scale import batch_scale, fitted_entry, fitted_to_samples
from hpo_utils.trials.search_space import load_search_space

SIGNALS = load_config("params/signals.yaml")


@pytest.mark.parametrize(
    ("n_samples", "scale"), [(40, 1), (1500, 1), (6000, 2), (17_500, 4), (100_000, 8)]
)
def test_batches_grow_with_the_root_of_the_samples(n_samples, scale):
    assert batch_scale(n_samples) == scale


def test_base_and_search_space_fit_together_and_keep_the_number_of_steps():
    cfg = fitted_to_samples(SIGNALS, 24_000)
    space = load_search_space(cfg, 2)
    assert space.values_in(cfg)  # raises if the base lay outside
    assert (cfg.training.batch_size, cfg.training.epochs) == (32, 15)
    assert space.distributions["training.batch_size"].choices == (32, 64, 128)
    epochs = space.distributions["training.epochs"]
    assert (epochs.low, epochs.high, epochs.step) == (5, 15, 1)
    n_steps, few = 24_000 * 15 / 32, 1500 * 60 / 8
    assert n_steps == pytest.approx(few)
    assert fitted_to_samples(cfg, 10**6) == cfg  # once


def test_what_is_given_outright_stays():
    given = load_config("params/signals.yaml", ["training.epochs=33"])
    cfg = fitted_to_samples(given, 24_000)
    assert (cfg.training.epochs, cfg.training.batch_size) == (33, 32)
    assert (
        fitted_to_samples(updated(SIGNALS, {"study.batch_scale": 1}), 24_000).training.epochs == 60
    )
    limited = fitted_to_samples(updated(SIGNALS, {"dataset.limit": 500}), 24_000)
    assert limited.training.epochs == 60


def test_the_specification_has_its_table_whatever_the_data():
    cfg = load_config()
    assert fitted_to_samples(cfg, 10**6) == cfg


def test_an_entry_that_is_wrong_stays_for_those_who_say_so():
    wrong = {"type": "int", "low": "a", "high": [1, "b"]}
    assert fitted_entry("training.epochs", wrong, 4) == wrong
    assert fitted_entry("training.batch_size", "nonsense", 4) == "nonsense"
