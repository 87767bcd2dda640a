"""A bundle corrected for another instrument: only where new samples show that it helps."""

import json

import numpy as np
import openpyxl
import pytest

from hpo_utils.__main__ import main
from hpo_utils.base.errors import BundleError
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.upkeep.adaptation import AS_IS, LINE, OFFSET, _choose, adapt

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("truth_of", "kind"),
    [
        (lambda y: y, AS_IS),
        (lambda y: y + 0.8, OFFSET),
        (lambda y: 1.5 * y - 2.0, LINE),
    ],
)
def test_the_simplest_correction_that_helps_is_chosen(truth_of, kind):
    y = RNG.normal(size=60)
    truth = truth_of(y) + 0.2 * RNG.normal(size=60)
    chosen, (slope, offset), held_out = _choose(y, truth, None)
    assert chosen == kind
    np.testing.assert_allclose(slope * y + offset, truth_of(y), atol=0.25)
    assert np.std(held_out - truth) < 0.3


def test_a_correction_is_rarely_seen_where_there_is_none():
    found = [_choose(y, y + RNG.normal(size=20), None)[0] for y in RNG.normal(size=(200, 20))]
    assert found.count(AS_IS) > 160


def test_samples_of_one_recording_do_not_make_a_correction():
    """Each of four recordings has an error of its own: too few to tell it from an offset."""
    units = np.repeat(np.arange(2), 30)
    y = RNG.normal(size=60)
    assert _choose(y, y + 1.0 + 0.01 * RNG.normal(size=60), units)[0] == AS_IS
    assert _choose(y, y + 1.0 + 0.01 * RNG.normal(size=60), None)[0] == OFFSET


def test_an_adapted_bundle_predicts_alike_in_all_ways(home, tmp_path, capsys):
    bundle, raw, data = home
    x, y = raw[:40], predict(bundle, raw[:40]).y
    units = data.target_units
    t = y.copy()
    t[:, 0] = 1.4 * y[:, 0] + 0.5  # velocities; fractions stay as they are
    t[:, 0] += 0.01 * RNG.normal(size=40)
    np.save(tmp_path / "x.npy", x)
    book = openpyxl.Workbook()
    book.active.append([f"{n} [{u}]" for n, u in zip(data.target_names, units, strict=True)])
    for row in t:
        book.active.append([float(value) for value in row])
    book.save(tmp_path / "t.xlsx")
    before = {file.name: file.read_bytes() for file in bundle.iterdir()}
    files = [str(tmp_path / name) for name in ("x.npy", "t.xlsx")]
    assert main(["adapt", str(bundle), *files, "--out", str(tmp_path / "new")]) == 0
    assert "the adapted bundle" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in bundle.iterdir()} == before
    adapted = tmp_path / "new"
    found = predict(adapted, x)
    np.testing.assert_allclose(found.y[:, 0], t[:, 0], atol=0.05)
    np.testing.assert_allclose(found.y[:, 1], y[:, 1], rtol=1e-6)
    by_file = predict_by_onnx(load_onnx(adapted, "cpu"), x)
    np.testing.assert_allclose(by_file.y, found.y, atol=1e-3)
    np.testing.assert_allclose(by_file.half_width, found.half_width, atol=1e-3)
    inside = np.abs(found.y - t) <= found.half_width
    assert inside.mean() >= 0.9
    written = json.loads((adapted / "adaptation.json").read_text())["targets"]
    assert [each["correction"] for each in written.values()][:2] == [LINE, AS_IS]
    assert "intervals are calibrated on them" in (adapted / "MODEL_CARD.md").read_text()
    again = adapt(adapted, x, 2 * found.y.astype(float), tmp_path / "again")
    np.testing.assert_allclose(predict(again.directory, x).y[:, 0], 2 * found.y[:, 0], rtol=1e-4)
    assert load_bundle(again.directory).layout.correction[0][0] == pytest.approx(2.8, rel=0.01)


def test_an_adapted_bundle_is_at_home_on_the_other_instrument(home, tmp_path):
    bundle, raw, _ = home
    x = 1.5 * raw + 0.5
    before, t = predict(bundle, x, accept_outliers=True), predict(bundle, raw).y.astype(float)
    assert (before.domain > 1).any(axis=1).mean() > 0.5
    adapted = adapt(bundle, x[::2], 2 * t[::2] + 1, tmp_path / "new").directory
    found = predict(adapted, x[1::2])
    assert (found.domain > 1).any(axis=1).mean() < 0.2
    by_file = predict_by_onnx(load_onnx(adapted, "cpu"), x[1::2])
    np.testing.assert_allclose(by_file.domain, found.domain, rtol=1e-3)


def test_later_samples_are_compared_with_those_of_the_adaptation(home, tmp_path):
    """The errors of the new instrument are larger than those that the first test part had."""
    bundle, raw, _ = home
    x, rng = 1.1 * raw + 0.2, np.random.default_rng(0)
    own = predict(bundle, x, accept_outliers=True).y.astype(float)
    free = np.setdiff1d(np.arange(6), load_bundle(bundle).layout.fractions)  # of constraints
    t = own.copy()
    t[:, free] *= 0.8 + 0.05 * rng.normal(size=(len(own), len(free)))
    adapted = adapt(bundle, x, t, tmp_path / "new")
    merit = json.loads((tmp_path / "new/metrics.json").read_text())["merit"]
    n = len(t)
    errors = [np.hypot(each["sep"] * (1 - 1 / n) ** 0.5, each["bias"]) for each in merit.values()]
    np.testing.assert_allclose(errors, adapted.table["RMSE corrected"], rtol=1e-5)
    said = " ".join(evaluate(tmp_path / "new", x, t, accept_outliers=True).attrs["remarks"])
    assert "as the samples of its adaptation promised" in said


def test_where_nothing_helps_nothing_is_written(home, tmp_path, capsys):
    bundle, raw, _ = home
    y = predict(bundle, raw[:30]).y
    found = adapt(bundle, raw[:30], y, tmp_path / "new")
    assert found.directory is None
    assert (found.table["correction"] == AS_IS).all()
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    with pytest.raises(BundleError, match="must be written to a new directory"):
        adapt(bundle, raw[:30], y, tmp_path / "new")


def test_repeats_of_one_sample_give_an_offset_at_most(home, tmp_path, capsys):
    bundle, raw, data = home
    x = np.repeat(raw[:1], 24, axis=0) + 0.01 * RNG.normal(size=(24, *raw.shape[1:]))
    t = predict(bundle, x).y + 0.3 * np.array(data.target_scaler.std)
    t += 0.01 * data.target_scaler.std * RNG.normal(size=t.shape)
    adapted = adapt(bundle, x.astype(np.float32), t, tmp_path / "new")
    assert "an offset at most" in capsys.readouterr().out
    assert set(adapted.table["correction"]) == {OFFSET}
    moved = predict(tmp_path / "new", raw[:40]).y - predict(bundle, raw[:40]).y
    # alike for all samples, but for fractions, which sum to one
    np.testing.assert_allclose(moved.std(axis=0)[:3], 0.0, atol=1e-5)
