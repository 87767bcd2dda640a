"""Codes for what was not measured, named by dataset.missing_values: nothing is learnt from them."""

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.bundle.bundle import predict
from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx
from hpo_utils.data.outliers import is_missing, without_codes
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.search import run_study
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.winner.settle import settle_winner, winner_directory

RNG = np.random.default_rng(0)
CODES = [-9999.0, np.nan, 1e20]


def signals(n_samples=120):
    """Signals of two channels; the second holds codes here and there, and so do the targets."""
    level = RNG.normal(size=(n_samples, 1))
    x = np.stack([level + 0.1 * RNG.normal(size=(n_samples, 32)) for _ in range(2)], axis=1)
    whole = x.astype(np.float32)
    gaps = RNG.random(whole[:, 1].shape) < 0.05
    codes = whole.copy()
    codes[:, 1][gaps] = RNG.choice(np.float32(CODES), gaps.sum())
    t = np.hstack([level, 2 + level]).astype(np.float32)
    t[:20, 1] = -9999.0
    return whole, codes, gaps, t


def asked(make_arrays, x, t, *codes):
    dataset = {"missing_values": list(codes) or None, "partly_measured": True}
    settings = {f"dataset.{key}": value for key, value in dataset.items()}
    return make_arrays(x, t, **settings, **{"dataset.downsample_factor": 1})


def test_codes_are_found_in_any_number_format():
    for dtype in (np.float64, np.float32):
        values = np.array([1.0, -9999.0, np.nan, 1e20, 2.0], dtype)
        np.testing.assert_array_equal(is_missing(values, CODES), [0, 1, 1, 1, 0])
    counts = np.array([[5, -32768]], np.int16)
    np.testing.assert_array_equal(without_codes(counts, [-32768]), [[5.0, np.nan]])
    assert without_codes(counts, []) is counts


def test_the_mean_takes_the_place_of_what_was_not_measured(make_config, make_arrays):
    whole, codes, gaps, t = signals()
    data = prepare_data(make_config(**asked(make_arrays, codes, t, *CODES)))
    rows = data.sample_numbers("train")
    known = np.where(gaps, np.nan, whole[:, 1].astype(float))[rows]
    statistics = data.manifest["channel_statistics"]
    assert statistics["mean"][1] == pytest.approx(np.nanmean(known))
    assert statistics["std"][1] == pytest.approx(np.nanstd(known))
    assert statistics["missing"] == [0.0, pytest.approx(gaps[rows].mean())]
    expected = np.nan_to_num((known - np.nanmean(known)) / np.nanstd(known))
    np.testing.assert_allclose(data.inputs("train")[:, 1], expected, atol=1e-5)
    assert np.isnan(data.all_targets()).sum() == 20


def test_codes_that_nobody_named_are_refused(make_config, make_arrays):
    _, codes, _, t = signals()
    with pytest.raises(
        DataError, match=r"got nan .* channel 1 .*name it in dataset.missing_values"
    ):
        prepare_data(make_config(**asked(make_arrays, codes, t, -9999.0, 1e20)))
    with pytest.raises(DataError, match="'channel 1' must hold measurements, got 1e\\+20"):
        prepare_data(make_config(**asked(make_arrays, codes, t, -9999.0, np.nan)))
    cfg = make_config(**{**asked(make_arrays, codes, t, *CODES), "dataset.partly_measured": False})
    with pytest.raises(DataError, match="got -9999.0 for 'target 1' .* dataset.partly_measured"):
        prepare_data(cfg)


def test_a_bundle_takes_the_codes_of_its_training(make_config, make_arrays):
    _, codes, _, t = signals()
    cfg = make_config("training.epochs=2", **asked(make_arrays, codes, t, *CODES))
    study = run_study(cfg)
    settle_winner(study, cfg)
    data = prepare_data(cfg)
    bundle = winner_directory(data.directory.parents[1], study.study_name) / "bundle"
    found = predict(bundle, codes)
    assert np.isfinite(found.y).all()
    by_file = predict_by_onnx(load_onnx(bundle, "cpu"), codes)
    std = data.target_scaler.std
    assert np.quantile(np.abs(by_file.y - found.y) / std, 0.9) < 1e-3
    np.testing.assert_array_equal(by_file.is_new, found.is_new)
    rows = data.sample_numbers("test")
    table = evaluate(bundle, codes[rows], t[rows])
    np.testing.assert_allclose(table["R²"], table["R² of the test part"], atol=1e-4)
    spoilt = codes.copy()
    spoilt[0, 0, 0] = np.inf
    with pytest.raises(DataError, match="must be finite"):
        predict(bundle, spoilt)
