import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from hpo_utils.__main__ import main
from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.base.paths import resolve
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.data.preparation import prepare_data
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.winner.settle import load_evaluation, winner_directory


@pytest.fixture
def later(settled):
    """The bundle of a settled study, its raw arrays, and what was found on the test part."""
    cfg, study = settled
    data = prepare_data(cfg)
    x, t = (np.load(source["path"]) for source in data.manifest["sources"])
    root = resolve(cfg.paths.outputs_root)
    evaluation = load_evaluation(study, root)
    return winner_directory(root, study.study_name) / "bundle", x, t, data, evaluation


def test_the_test_part_gives_what_it_gave(later):
    bundle, x, t, data, evaluation = later
    test = data.sample_numbers("test")
    table = evaluate(bundle, x[test], t[test])
    for measure in ("R²", "RMSE"):
        np.testing.assert_allclose(table[measure], table[f"{measure} of the test part"], rtol=1e-4)
    coverage = evaluation["examination"]["coverage"]
    (column,) = [name for name in table.columns if name.startswith("inside ")]
    assert [float(share.strip("%")) for share in table[column]] == pytest.approx(
        [100 * each["calibrated"] for each in coverage], abs=0.1
    )


def test_promises_that_are_not_kept_are_named(later):
    bundle, x, t, *_ = later
    known = predict(bundle, x)
    truth = known.y + np.random.default_rng(0).normal(size=t.shape) * known.half_width / 2
    kept, off = (evaluate(bundle, x, each) for each in (truth, truth + 20 * known.half_width))
    assert kept.attrs["promises"]
    assert any("not what the test part promised: bias of" in said for said in off.attrs["remarks"])
    figures = {each["figure"] for each in off.attrs["promises"] if each["p_value"] < 0.05}
    assert {"bias", "coverage"} <= figures


def test_coverage_needs_no_test_part_and_what_is_not_compared_is_said(later, tmp_path):
    bundle, x, *_ = later
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    for merit in metrics["merit"].values():
        merit["n_units"] = 6
    (copy / "metrics.json").write_text(json.dumps(metrics))
    known = predict(bundle, x)
    table = evaluate(copy, x, known.y + 20 * known.half_width)
    broken, lacking = (said for said in table.attrs["remarks"] if "domain" not in said)
    assert broken.startswith("not what the test part promised: coverage of")
    assert "are not compared: here or in the test part it was measured in fewer than 8" in lacking


def test_other_samples_are_measured_as_scikit_learn_does(later):
    bundle, x, t, _, _ = later
    table, y = evaluate(bundle, x[:20], t[:20]), predict(bundle, x[:20]).y
    np.testing.assert_allclose(
        table["R²"], r2_score(t[:20], y, multioutput="raw_values"), atol=1e-5
    )
    np.testing.assert_allclose(
        table["MAE"], mean_absolute_error(t[:20], y, multioutput="raw_values"), atol=1e-5
    )
    assert list(table.index) == load_bundle(bundle).layout.target_names
    assert table["unit"].iloc[0] == "m/s"


def test_samples_of_one_recording_make_wider_intervals(later):
    bundle, x, t, _, _ = later
    twice = np.repeat(np.arange(len(x)), 2)
    once, alone, together = (
        evaluate(bundle, x[rows], t[rows], groups=groups).filter(like="of RMSE").iloc[:, 0]
        for rows, groups in (
            (slice(None), None), (twice, None), (twice, [f"run {number}" for number in twice]),
        )
    )  # fmt: skip
    assert list(once) == list(together)  # the same samples, each of them twice
    width = [
        [float(v) for v in text.strip("[]").split(",")] for text in (once.iloc[0], alone.iloc[0])
    ]
    assert width[0][0] < width[1][0] < width[1][1] < width[0][1]
    assert set(evaluate(bundle, x[:7], t[:7])["95% interval by sample of R²"]) == {"–"}  # too few
    with pytest.raises(DataError, match="groups must hold one id for each of 5 samples"):
        evaluate(bundle, x[:5], t[:5], groups=[1, 2])
    with pytest.raises(DataError, match="groups must hold numbers or names, got dtype object"):
        evaluate(bundle, x[:3], t[:3], groups=[1, None, "a"])


def test_the_command_prints_the_table(later, tmp_path, capsys):
    bundle, x, t, _, _ = later
    np.savez(tmp_path / "later.npz", x=x[:9], t=t[:9], g=np.arange(9))
    file = str(tmp_path / "later.npz")
    keys = ["--x-key", "x", "--t-key", "t", "--groups", file, "--groups-key", "g"]
    assert main(["evaluate", str(bundle), file, file, *keys]) == 0
    printed = capsys.readouterr().out
    assert "Gas Velocity" in printed
    assert "RMSE of the test part" in printed
    assert "95% interval by group of RMSE" in printed


def test_targets_that_do_not_fit_are_one_sentence(later):
    bundle, x, t, _, _ = later
    with pytest.raises(DataError, match="t must have a row for each of the 5 samples of x, got 4"):
        evaluate(bundle, x[:5], t[:4])
    with pytest.raises(DataError, match=r"shape \(n_samples, 6\), a column .* got \(0, 1\)"):
        evaluate(bundle, x[:5], np.zeros(0))
    with pytest.raises(DataError, match="t must be finite"):
        evaluate(bundle, x[:5], np.where(np.arange(6) == 2, np.nan, t[:5]))
    with pytest.raises(DataError, match="t must hold real numbers, got dtype <U"):
        evaluate(bundle, x[:5], t[:5].astype(str))
    with pytest.raises(DataError, match="t must be an array, got a list of unequal parts"):
        evaluate(bundle, x[:2], [[1.0], [1.0, 2.0]])


def test_a_bundle_without_its_metrics_is_one_sentence(later, tmp_path):
    bundle, x, t, _, _ = later
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    with pytest.raises(BundleError, match="must have metrics.json with what its test part gave"):
        evaluate(copy, x[:5], t[:5])
