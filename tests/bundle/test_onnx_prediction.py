"""Predictions by onnxruntime are those of PyTorch, without its import."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from hpo_utils.__main__ import main
from hpo_utils.base.errors import DataError
from hpo_utils.bundle.bundle import predict
from hpo_utils.bundle.onnx_prediction import load_onnx, predict_by_onnx


def test_they_are_those_of_pytorch(home):
    bundle, raw, _ = home
    changed = np.concatenate([raw, 3.0 * raw[:4]])  # more samples than are taken at once
    found, known = (
        predict_by_onnx(load_onnx(bundle, "cpu"), changed),
        predict(bundle, changed, "cpu"),
    )
    np.testing.assert_allclose(found.y, known.y, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.half_width, known.half_width, rtol=1e-2, atol=1e-4)
    np.testing.assert_array_equal(found.is_new, known.is_new)
    assert found.is_new[-4:].all()
    np.testing.assert_allclose(found.domain, known.domain, rtol=1e-3, atol=1e-4)
    assert known.is_outside[-4:].all()
    assert known.is_outside[:-4].mean() < 0.15
    assert found.confidence == known.confidence


def test_the_same_inputs_are_refused(home):
    bundle, raw, _ = home
    quick = load_onnx(bundle, "cpu")
    with pytest.raises(DataError, match="must have shape"):
        predict_by_onnx(quick, raw[:, :2])
    coded = raw[:3].copy()
    coded[1, 0, 0, 0] = -9999.0
    with pytest.raises(DataError, match="sample 1"):
        predict_by_onnx(quick, coded)
    assert len(predict_by_onnx(quick, coded, accept_outliers=True).y) == 3


def test_a_damaged_file_is_left_to_pytorch(home, tmp_path):
    bundle, *_ = home
    for file in ("bundle.json", "config.yaml"):
        (tmp_path / file).write_bytes((bundle / file).read_bytes())
    assert load_onnx(tmp_path, "cpu") is None
    (tmp_path / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:1000])
    assert load_onnx(tmp_path, "cpu") is None
    assert load_onnx(bundle, "cuda") is None
    assert load_onnx(bundle, "cpu") is not None


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_damaged_bundle_is_one_sentence(home, tmp_path, capsys, content):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:2])
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    (damaged / "bundle.json").unlink()
    if content is not None:
        (damaged / "bundle.json").write_text(content)
    command = ["predict", str(damaged), str(tmp_path / "x.npy"), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "y.npy")]) == 2
    assert capsys.readouterr().err.startswith("BundleError: a bundle must be")


def test_the_command_does_not_import_what_it_does_not_need(home, tmp_path):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:3])
    arguments = ["predict", str(bundle), "x.npy", "--device", "cpu", "--out", "y.csv"]
    program = f"""
import sys
from hpo_utils.__main__ import main
assert main({arguments!r}) == 0
slow = {{"torch", "pandas", "scipy", "optuna", "sklearn", "h5py"}} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
