"""Networks trained further: where a line cannot help, only there, and as cross-validation said."""

import json
import shutil

import numpy as np
import pytest
import torch

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import DataError
from hpo_utils.bundle.bundle import load_bundle, predict, replace_arrays
from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx
from hpo_utils.study.search import run_study
from hpo_utils.upkeep.acceptance import evaluate
from hpo_utils.upkeep.adaptation import adapt
from hpo_utils.upkeep.finetuning import TUNINGS, fine_tuned, held_out, networks_of
from hpo_utils.winner.settle import settle_winner, winner_directory

AXIS = np.arange(60)


def spectra(seed, n, interferent=0.0):
    """Two bands whose heights are the targets, and a third that training has not seen."""
    rng = np.random.default_rng(seed)
    t, other = rng.uniform(0, 1, (n, 2)), rng.uniform(0, 1, (n, 1))
    bands = [np.exp(-(((AXIS - place) / 6.0) ** 2)) for place in (20, 40, 28)]
    x = t[:, :1] * bands[0] + t[:, 1:] * bands[1] + interferent * other * bands[2]
    return (x + 0.02 * rng.normal(size=x.shape)).astype(np.float32), t.astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("spectra")
    for name, values in zip("xt", spectra(0, 120), strict=True):
        np.save(root / f"{name}.npy", values)
    cfg = load_config(
        "params/smoke.yaml",
        **{
            "dataset.x_train": str(root / "x.npy"), "dataset.t_train": str(root / "t.npy"),
            "dataset.partly_measured": True, "paths.outputs_root": str(root / "runs"),
            "model.linear_start": True, "study.n_trials": 1, "evaluation.n_seeds": 2,
            "evaluation.take_home": "network",
        },
    )  # fmt: skip
    study = run_study(cfg)
    settle_winner(study, cfg)
    return winner_directory(root / "runs", study.study_name) / "bundle"


def rmse(bundle, x, t):
    return np.sqrt(((predict(bundle, x, accept_outliers=True).y - t) ** 2).mean(axis=0))


def test_an_interferent_is_learnt_from_few_samples(bundle, tmp_path):
    x, t = spectra(1, 32, interferent=0.5)
    t[:4, 1] = np.nan  # not all was measured
    found = adapt(bundle, x, t, tmp_path / "new")
    assert all("layers" in kind for kind in found.table["correction"])
    later, truth = spectra(2, 200, interferent=0.5)
    before, after = rmse(bundle, later, truth), rmse(found.directory, later, truth)
    assert after[0] < 0.6 * before[0]
    np.testing.assert_allclose(found.table["RMSE corrected"], after, rtol=0.4)
    by_file = predict_by_onnx(load_onnx(found.directory, "cpu"), later)
    np.testing.assert_allclose(by_file.y, predict(found.directory, later).y, atol=1e-3)
    card = (found.directory / "MODEL_CARD.md").read_text()
    assert "layers, " in card.partition("## Adapted")[2]
    written = json.loads((found.directory / "adaptation.json").read_text())
    assert "layers" in written["targets"]["target 0"]["correction"]


def test_what_is_right_but_for_noise_is_left_as_it_is(bundle, tmp_path):
    x, _ = spectra(3, 24)
    noise = 0.02 * np.random.default_rng(0).normal(size=(24, 2))
    assert adapt(bundle, x, predict(bundle, x).y + noise, tmp_path / "new").directory is None


def test_a_target_that_was_not_measured_keeps_its_network(bundle, tmp_path, capsys):
    x, t = spectra(1, 32, interferent=0.5)
    t[8:, 1] = np.nan
    adapt(bundle, x, t, tmp_path / "new")
    assert "trained further" not in capsys.readouterr().out


def test_networks_of_images_can_be_written_again(home, tmp_path):
    """Their weights lie channels last."""
    copy = shutil.copytree(home[0], tmp_path / "copy")
    digest = replace_arrays(copy, networks_of(load_bundle(copy)))
    content = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**content, "sha256": digest}))
    np.testing.assert_array_equal(predict(copy, home[1][:3]).y, predict(home[0], home[1][:3]).y)


@pytest.mark.parametrize("name", ["t", "groups"])
def test_a_table_is_not_paired_by_the_order_of_its_rows(bundle, tmp_path, name):
    x, t = spectra(6, 30)
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["id,value", *(f"{k},{k % 5}" for k in range(30))]))
    given = {"t": t, name: file}
    with pytest.raises(DataError, match=f"{name} must be an array, such as .npy, got the table"):
        evaluate(bundle, x, **given)


def test_few_samples_train_nothing(bundle, tmp_path, capsys):
    found = adapt(bundle, *spectra(1, 12, interferent=0.5), tmp_path / "new")
    assert "trained further" not in capsys.readouterr().out
    assert not any("layers" in kind for kind in found.table["correction"])


def test_no_sample_is_predicted_by_what_has_seen_it(bundle):
    """References that are noise cannot be met where they were left out."""
    known = load_bundle(bundle)
    x, t = spectra(4, 24)
    noise = np.random.default_rng(0).normal(size=t.shape)
    z = known.model.standardize(torch.from_numpy(x))
    for found, _ in held_out(known, z, t + noise, np.repeat(np.arange(8), 3)).values():
        assert np.isfinite(found).all()
        assert ((found - t - noise) ** 2).mean() > 0.9 * (noise**2).mean()


@pytest.mark.parametrize("tuning", TUNINGS, ids=str)
def test_only_the_layers_that_are_named_change(bundle, tuning):
    known = load_bundle(bundle)
    x, t = spectra(5, 30, interferent=0.5)
    z = known.model.standardize(torch.from_numpy(x))
    before, after = networks_of(known), networks_of(fine_tuned(known, z, t.astype(float), tuning))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    if tuning.last_only:
        assert all({"head", "linear", "dense"} & set(name.split(".")) for name in changed)
    else:
        assert any("blocks" in name or "stem" in name or "layers" in name for name in changed)
