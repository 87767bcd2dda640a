"""Targets over decades, learnt and judged by their logarithms, all the way to the bundle."""

import json
import runpy

import numpy as np
import pytest

from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.bundle.bundle import predict
from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.scaling import Standardizer
from hpo_utils.insight.correlations import plot_target_pairs
from hpo_utils.insight.data_plots import plot_target_histograms
from hpo_utils.report.data_sections import sentence_on_decades
from hpo_utils.scores.spread import calibrate_spread, coverage
from hpo_utils.study.search import run_study
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.upkeep.adaptation import adapt
from hpo_utils.winner.settle import settle_winner, winner_directory

LOGARITHMIC = {"dataset.target_names": ["level", "count"], "dataset.logarithmic": ["count"]}


def counts(n=240):
    """Signals of two bands; the first's height is a level, the second's the logarithm of a count.

    The counts span four decades.
    """
    rng = np.random.default_rng(0)
    heights = rng.uniform(-1, 1, (n, 2))
    axis = np.linspace(-1, 1, 40)
    bands = np.exp(-(((axis - [[-0.5], [0.5]]) / 0.2) ** 2))
    x = heights @ bands + 0.01 * rng.normal(size=(n, 40))
    t = np.column_stack([heights[:, 0], 10 ** (2 * heights[:, 1])])
    return x[:, None].astype(np.float32), t


def test_a_scaler_goes_there_and_back():
    _, t = counts()
    logarithms = np.column_stack([t[:, 0], np.log(t[:, 1])])
    scaler = Standardizer(logarithms.mean(axis=0), logarithms.std(axis=0), (1,))
    z = scaler.transform(t)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(scaler.inverse(z), t, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset.logarithmic": ["mass"]}, "must name targets of level, count, got 'mass'"),
        ({"dataset.logarithmic": ["level"]}, "'level' must be above zero .* in sample"),
        ({"dataset.non_negative": ["count"]}, "'count' is in dataset.logarithmic, which keeps"),
    ],
)
def test_what_has_no_logarithm_is_said(make_config, make_arrays, settings, message):
    cfg = make_config(**make_arrays(*counts()), **{**LOGARITHMIC, **settings})
    with pytest.raises(DataError, match=message):
        prepare_data(cfg)


def test_the_scaler_is_that_of_the_logarithms_and_other_data(make_config, make_arrays):
    arrays = make_arrays(*counts())
    plain = prepare_data(make_config(**arrays, **{"dataset.accept_outliers": ["target 1"]}))
    data = prepare_data(make_config(**arrays, **LOGARITHMIC))
    assert data.dataset_id != plain.dataset_id
    known = np.log(data.targets("train")[:, 1])
    assert data.target_scaler.mean[1] == pytest.approx(known.mean(), rel=1e-5)
    np.testing.assert_array_equal(data.targets("train"), plain.targets("train"))  # in units


def test_01_names_targets_over_decades(make_config, make_arrays):
    x, t = counts()
    arrays = make_arrays(
        x, np.column_stack([t[:, 0], t[:, 1] ** 1.5]), **{"dataset.accept_outliers": ["target 1"]}
    )
    assert "In target 1 a tenth" in sentence_on_decades(prepare_data(make_config(**arrays)))
    known = {**arrays, **LOGARITHMIC, "dataset.accept_outliers": None}
    assert sentence_on_decades(prepare_data(make_config(**known))) is None


def test_01_draws_it_on_a_logarithmic_axis(make_config, make_arrays):
    cfg = make_config(**make_arrays(*counts()), **LOGARITHMIC)
    linear, logarithmic = plot_target_histograms(prepare_data(cfg)).axes
    assert (linear.get_xscale(), logarithmic.get_xscale()) == ("linear", "log")
    low, high = logarithmic.get_xlim()
    assert low < 0.02 < 50 < high
    pairs = plot_target_pairs(prepare_data(cfg)).axes
    assert [axes.get_yscale() for axes in pairs][2:] == ["log", "linear"]  # the last counts samples
    assert [axes.get_xscale() for axes in pairs][2:] == ["linear", "log"]


def test_intervals_grow_with_what_is_predicted_and_hold():
    rng = np.random.default_rng(0)
    truth = 10 ** rng.uniform(-2, 2, (4000, 1))
    members = truth * np.exp(0.2 * rng.normal(size=(3, 4000, 1)) + 0.3 * rng.normal(size=(4000, 1)))
    half = 2000
    found = calibrate_spread(truth[:half], members[:, :half], 0.9, logarithmic=[0])
    (held,) = coverage(truth[half:], members[:, half:], found, 0.9)
    assert 0.89 < held["calibrated"] < 0.97  # they reach further down than they need
    ratio = found.half_width(np.full((1, 1), 0.3), np.ones((1, 1)))[0, 0]
    assert held["relative"] == pytest.approx(ratio, rel=0.3)  # that of a usual spread
    width = found.half_width(np.array([[0.1], [10.0]]), np.array([[1.0], [100.0]]))
    assert width[1, 0] == pytest.approx(100 * width[0, 0])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A settled study of the counts: its configuration, bundle, evaluation and prepared data."""
    from hpo_utils.base.config import load_config

    root = tmp_path_factory.mktemp("decades")
    x, t = counts()
    np.save(root / "x.npy", x)
    np.save(root / "t.npy", t)
    cfg = load_config("params/smoke.yaml", ["training.epochs=5"], **{
        "paths.outputs_root": str(root / "runs"), "dataset.x_train": str(root / "x.npy"),
        "dataset.t_train": str(root / "t.npy"), **LOGARITHMIC,
    })  # fmt: skip
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    return winner_directory(root / "runs", study.study_name) / "bundle", evaluation, x, t


def test_errors_are_alike_over_all_decades(learnt):
    bundle, evaluation, x, t = learnt
    found = predict(bundle, x)
    ratio = found.y[:, 1] / t[:, 1]
    assert found.y[:, 1].min() > 0
    small, large = t[:, 1] < 0.1, t[:, 1] > 10
    assert np.std(np.log(ratio[small])) < 0.3
    assert np.std(np.log(ratio[small])) < 3 * np.std(np.log(ratio[large])) + 0.05
    merit = evaluation["examination"]["merit"]
    assert 0 < merit["count"]["relative"] < 0.3
    assert "relative" not in merit["level"]
    inside = np.abs(found.y - t) <= found.half_width
    assert inside.mean(axis=0).min() > 0.85
    assert found.half_width[:, 1].max() > 100 * found.half_width[:, 1].min()


def test_all_ways_predict_alike(learnt, monkeypatch):
    bundle, _, x, _ = learnt
    found = predict(bundle, x)
    by_file = predict_by_onnx(load_onnx(bundle, "cpu"), x)
    apart = np.abs(np.log(by_file.y[:, 1] / found.y[:, 1]))
    assert np.quantile(apart, 0.9) < 1e-3
    np.testing.assert_allclose(by_file.half_width, found.half_width, rtol=0.05)
    program = runpy.run_path(str(bundle / "predict.py"))["predict"]
    _, y, half_width = program(x, bundle / "model.onnx")
    np.testing.assert_allclose(y, by_file.y, rtol=1e-5)
    np.testing.assert_allclose(half_width, by_file.half_width, rtol=1e-4)


def test_evaluate_takes_it_and_adapt_says_that_it_does_not(learnt, tmp_path):
    bundle, _, x, t = learnt
    assert evaluate(bundle, x, t).attrs["merit"]["count"]["rmsep"] > 0
    with pytest.raises(BundleError, match="count was learnt as a logarithm"):
        adapt(bundle, x, t, out=tmp_path / "adapted")
    assert json.loads((bundle / "bundle.json").read_text())["logarithmic"] == [1]
