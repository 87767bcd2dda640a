import numpy as np
import pytest

from hpo_utils.baselines import fitted
from hpo_utils.baselines.fitted import (
    BOOSTING,
    FILE,
    FOREST,
    MEAN,
    PROCESS,
    RIDGE,
    Baseline,
    best_baselines,
    fit_baselines,
    load_models,
    predict_in_units,
)
from hpo_utils.data.preparation import prepare_data
from hpo_utils.scores.metrics import target_metrics


@pytest.fixture(autouse=True)
def with_boosting(monkeypatch):
    """Fit boosting to the few samples of these tests."""
    monkeypatch.setattr(fitted, "MIN_BOOSTED", 100)


def r2_of(data, baseline):
    metrics = target_metrics(data.targets("test"), baseline.test_pred, data.target_names)
    return [values["r2"] for values in metrics.values()]


def test_each_baseline_finds_what_it_is_made_for(make_config, make_arrays):
    """Target 0 is linear in the mean of a band; target 1 is the spread of a channel."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2, 64)) * rng.uniform(0.5, 3.0, size=(300, 1, 1))
    x[:, 0] = 0.1 * rng.normal(size=(300, 64))
    x[:, 0, :8] += rng.normal(size=(300, 1))
    t = np.stack([x[:, 0, :8].mean(axis=1), x[:, 1].std(axis=1)], axis=1)
    data = prepare_data(make_config(**make_arrays(x, t)))
    found = {b.name: r2_of(data, b) for b in fit_baselines(data)}
    assert found[RIDGE][0] > 0.99
    assert min(found[FOREST][1], found[BOOSTING][1]) > 0.9
    assert max(found[MEAN]) <= 0.0


def test_vibrations_have_an_opponent_that_hears_them(make_config, make_arrays):
    """The target is the pitch of a tone whose phase is anyone's guess."""
    rng = np.random.default_rng(0)
    pitch = rng.uniform(5, 50, size=(300, 1, 1))
    time = np.arange(256) / 256
    x = np.sin(2 * np.pi * (pitch * time + rng.uniform(size=(300, 1, 1))))
    data = prepare_data(make_config(**make_arrays(x, pitch[:, 0])))
    found = {b.name: r2_of(data, b)[0] for b in fit_baselines(data)}
    assert min(found[RIDGE], found[FOREST], found[BOOSTING]) > 0.97


def test_movements_have_an_opponent_that_sees_them(make_config, make_arrays):
    """The target is how fast stripes drift from row to row."""
    rng = np.random.default_rng(0)
    speed, phase = rng.uniform(1, 12, size=(300, 1, 1, 1)), rng.uniform(size=(300, 1, 1, 1))
    row, place = np.arange(32)[:, None] / 32, np.arange(24) / 24
    x = np.sin(2 * np.pi * (4 * place - speed * row + phase)) + 0.1 * rng.normal(
        size=(300, 1, 32, 24)
    )
    data = prepare_data(make_config(**make_arrays(x, speed[:, 0, 0])))
    found = {b.name: r2_of(data, b)[0] for b in fit_baselines(data)}
    assert min(found[RIDGE], found[FOREST], found[BOOSTING]) > 0.9


def test_a_process_finds_a_curve_that_no_line_fits(make_config, make_arrays):
    """The target is a bump of the level: it falls on either side."""
    rng = np.random.default_rng(0)
    level = rng.uniform(-2, 2, size=(200, 1, 1))
    x = level * np.hanning(64) + 0.01 * rng.normal(size=(200, 1, 64))
    data = prepare_data(make_config(**make_arrays(x, np.exp(-(level[:, 0] ** 2)))))
    assert {b.name: r2_of(data, b)[0] for b in fit_baselines(data)}[PROCESS] > 0.99


def test_no_baseline_leaves_the_range_of_the_training_part(make_config, make_arrays):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 32))
    data = prepare_data(make_config(**make_arrays(x, x[:, 0, :3])))
    models, known = load_models(data), data.targets("train")
    found = predict_in_units(models, data, 50 * data.inputs("test"))
    for y in found.values():
        assert (y >= known.min(axis=0) - 1e-5).all()
        assert (y <= known.max(axis=0) + 1e-5).all()


def test_the_best_is_chosen_by_the_validation_part(make_config, make_arrays):
    data = prepare_data(make_config(**make_arrays()))
    truth = data.targets("val")
    both = [Baseline("a", truth * [1, 0], truth), Baseline("b", truth * [0, 1], truth)]
    assert [b.name for b in best_baselines(both, data)] == ["a", "b"]


@pytest.mark.parametrize("shape", [(40, 16), (40, 3, 16), (40, 4, 8, 6)])
def test_all_layouts_and_one_target(make_config, make_arrays, shape):
    rng = np.random.default_rng(0)
    arrays = make_arrays(rng.normal(size=shape), rng.normal(size=40))
    data = prepare_data(make_config(**arrays))
    for baseline in fit_baselines(data):
        assert baseline.test_pred.shape == data.targets("test").shape
        assert np.isfinite(baseline.val_pred).all()


def test_baselines_are_kept_and_the_same_every_time(make_config):
    data = prepare_data(make_config())
    first, kept = fit_baselines(data), fit_baselines(data)
    (data.directory / FILE.format(mark="")).unlink()
    for again in (kept, fit_baselines(data)):
        for a, b in zip(first, again, strict=True):
            assert a.name == b.name
            np.testing.assert_array_equal(a.val_pred, b.val_pred)
            np.testing.assert_array_equal(a.test_pred, b.test_pred)
