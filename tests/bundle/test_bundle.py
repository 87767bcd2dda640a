import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import openpyxl
import pandas as pd
import pytest
from scipy.io import savemat

from hpo_utils.__main__ import main
from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.base.formatting import percent
from hpo_utils.base.paths import project_root
from hpo_utils.baselines.fitted import fit_baselines
from hpo_utils.baselines.take_home import mixed
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.winner.settle import load_predictions, winner_directory


def test_raw_arrays_give_what_the_study_predicted(home):
    bundle, raw, data = home
    found = predict(bundle, raw[data.sample_numbers("test")])
    shares, networks = load_bundle(bundle).layout.shares, load_predictions(bundle.parent)["test"]
    others = {b.name: b.test_pred for b in fit_baselines(data)}
    known = mixed(shares, networks, others, data.physics)
    np.testing.assert_allclose(found.y, known.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.spread, known.std(axis=0, ddof=1), rtol=1e-3, atol=1e-5)
    assert found.y.shape == (len(known[0]), 6)
    assert (found.half_width >= 0).all()


def test_the_channels_that_are_left_out_do_not_matter(home):
    bundle, raw, _ = home
    other = raw.copy()
    other[:, [1, 3]] = np.nan
    np.testing.assert_array_equal(predict(bundle, raw).y, predict(bundle, other).y)


def test_physics_holds_for_whatever_is_asked(home):
    bundle, raw, _ = home
    y = predict(bundle, 100 * raw).y
    assert (y[:, :3] >= 0).all()
    np.testing.assert_allclose(y[:, 3:].sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "convert",
    [lambda x: x.astype(np.float64), lambda x: x.astype(">f4"), lambda x: np.asfortranarray(x),
     lambda x: x[::-1][::-1]],
    ids=["float64", "big-endian", "Fortran", "strided"],
)  # fmt: skip
def test_other_numbers_and_memory_layouts_do_as_well(home, convert):
    bundle, raw, _ = home
    np.testing.assert_allclose(predict(bundle, convert(raw)).y, predict(bundle, raw).y, rtol=1e-5)


def test_onnx_gives_the_same_numbers_without_pytorch(home):
    bundle, raw, _ = home
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    known = predict(bundle, raw)
    for n_samples in (1, 20):
        y, spread, _ = session.run(None, {"x": raw[:n_samples].astype(np.float32)})
        scale = np.abs(known.y).max(axis=0)
        assert (np.abs(y - known.y[:n_samples]) / scale).max() < 1e-4
        assert (np.abs(spread - known.spread[:n_samples]) / scale).max() < 1e-4
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["target_names"])[1] == "Gas Velocity"


def test_the_command_line_does_the_same(home, tmp_path):
    bundle, raw, _ = home
    np.savez(tmp_path / "x.npz", x=raw[:5], t=np.zeros(5))
    command = [sys.executable, "-m", "hpo_utils", "predict", os.path.relpath(bundle, tmp_path),
               "x.npz", "--x-key", "x", "--out", "y.npy", "--half-width", "w.npy"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    known = predict(bundle, raw[:5])
    level = f"(intervals of {known.confidence:.1%})"
    assert done.stdout == f"5 samples, 6 targets: y.npy, w.npy {level}\n"
    # other tests may have left this process another number of threads, which rounds differently
    for file, values in (("y.npy", known.y), ("w.npy", known.half_width)):
        np.testing.assert_allclose(np.load(tmp_path / file), values, rtol=1e-6, atol=1e-6)


def test_predictions_may_be_text_under_the_names_of_the_targets(home, tmp_path, capsys):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:5])
    command = ["predict", str(bundle), str(tmp_path / "x.npy"), "--out"]
    assert main([*command, str(tmp_path / "y.csv")]) == 0
    names, *rows = (tmp_path / "y.csv").read_text().splitlines()
    assert names.split(",")[1] == "Gas Velocity [m/s]"
    found = np.array([row.split(",") for row in rows], dtype=np.float32)
    np.testing.assert_allclose(found, predict(bundle, raw[:5]).y, rtol=1e-5)
    assert main([*command, str(tmp_path / "y.xlsx")]) == 0
    sheet = openpyxl.load_workbook(tmp_path / "y.xlsx").active
    header, *cells = sheet.iter_rows(values_only=True)
    assert list(header) == names.split(",")
    np.testing.assert_allclose(cells, found, rtol=1e-5)
    assert main([*command, str(tmp_path / "y.txt")]) == 2
    assert "must be written to an .npy, .csv or .xlsx file, got y.txt" in capsys.readouterr().err


def test_predictions_unlike_all_that_was_trained_on_are_said(home, tmp_path, capsys):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", np.concatenate([raw[:3], 1e5 * raw[:2]]))
    command = ["predict", str(bundle), str(tmp_path / "x.npy"), "--out", str(tmp_path / "y.npy")]
    assert main(command) == 0
    assert "2 of 5 samples are unlike all that was trained on (3, 4, " in capsys.readouterr().err


def test_outside_of_the_domain_intervals_are_wider(home, tmp_path, capsys):
    bundle, raw, _ = home
    near, far = predict(bundle, raw), predict(bundle, 3.0 * raw)
    layout = load_bundle(bundle).layout
    for found in (near, far):
        own = layout.calibration.half_width(found.spread, found.y)
        reach = np.sqrt(np.maximum(1.0, found.domain.max(axis=1, keepdims=True)))
        np.testing.assert_allclose(found.half_width, reach * own, rtol=1e-5)
        assert (found.joint_half_width >= found.half_width).all()
    assert far.is_outside.all()
    np.save(tmp_path / "x.npy", raw)
    arguments = ["predict", bundle, "x.npy", "--out", "y.npy", "--domain", "d.csv"]
    with contextlib.chdir(tmp_path):
        assert main([str(each) for each in arguments]) == 0
    table = pd.read_csv(tmp_path / "d.csv")
    named = ["T² / limit", "Q / limit", "neighbour / limit"]
    assert [name for name in table if "limit" in name] == named
    np.testing.assert_allclose(table[named], near.domain, rtol=1e-3, atol=1e-4)


def test_others_may_read_the_bundle(home):
    bundle, _, _ = home
    assert len({path.stat().st_mode for path in bundle.iterdir()}) == 1


WRONG_INPUTS = [
    (lambda x: x[:, :2], r"shape \(n_samples, 4, 16, 24\) with all 4 recorded channels \(transd"),
    (lambda x: x[0], r"got \(4, 16, 24\): add the axis of the samples with x\[None\]"),
    (lambda x: x[:, :, :8], r"got \(48, 4, 8, 24\)"),
    (lambda x: x[:0], r"must hold samples, got an array of shape \(0, 4, 16, 24\)"),
    (lambda x: x.astype(complex), "must hold real numbers, got dtype complex128"),
    (lambda x: x.astype(object), "must hold real numbers, got dtype object"),
    (lambda x: x * np.array([1, 1, 1e300, 1.0])[:, None, None], "float32, in the channels"),
    (lambda x: x.astype(str), "must hold real numbers, got dtype <U"),
    (lambda x: np.where(np.arange(48)[:, None, None, None] == 3, np.nan, x), "but sample 3 is not"),
]


@pytest.mark.parametrize("way", ["array", "command"])
@pytest.mark.parametrize(("change", "message"), WRONG_INPUTS)
def test_wrong_inputs_are_one_sentence(home, tmp_path, capsys, way, change, message):
    bundle, raw, _ = home
    x = change(raw)
    if way == "array":
        with pytest.raises(DataError, match=message) as caught:
            predict(bundle, x)
        assert "\n" not in str(caught.value)
        return
    np.save(tmp_path / "x.npy", x, allow_pickle=x.dtype == object)
    out = tmp_path / "y.npy"
    assert main(["predict", str(bundle), str(tmp_path / "x.npy"), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("DataError: x must")
    assert not out.exists()


def damage(bundle, name):
    """Ruin a file of a bundle in the way that its kind is ruined."""
    file = bundle / name
    if name.endswith("json"):
        file.write_text(file.read_text().replace('"version": 7', '"version": 99'))
    else:
        file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "message"),
    [("bundle.json", "must have version 7 to be read, got 99"),
     ("weights.safetensors", "a bundle must be readable")],
)  # fmt: skip
def test_a_damaged_bundle_is_said(home, tmp_path, name, message):
    copy = shutil.copytree(home[0], tmp_path / "bundle")
    damage(copy, name)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"without {name}: name the directory"):
        load_bundle(copy)


def test_predictions_that_cannot_be_written_are_said(home, tmp_path, capsys):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:2])
    out = str(tmp_path / "missing" / "y.npy")
    assert main(["predict", str(bundle), str(tmp_path / "x.npy"), "--out", out]) == 2
    assert "must be written to a file" in capsys.readouterr().err


def test_a_bundle_works_far_from_the_project(home, tmp_path, monkeypatch):
    bundle, raw, _ = home
    shutil.copytree(bundle, tmp_path / "b")
    monkeypatch.setattr("hpo_utils.base.paths.project_root", lambda: pytest.fail("no project here"))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(predict("b", raw[:2], "cpu").y, predict(bundle, raw[:2]).y)


def test_the_bundle_needs_nothing_of_the_study(home, tmp_path):
    bundle, raw, _ = home
    alone = shutil.copytree(bundle, tmp_path / "taken home")
    np.testing.assert_array_equal(predict(alone, raw[:3]).y, predict(bundle, raw[:3]).y)
    assert sorted(path.name for path in alone.iterdir()) == [
        "MODEL_CARD.md", "bundle.json", "config.yaml", "croissant.json", "environment.json",
        "metrics.json", "model.onnx", "predict.py", "weights.safetensors",
    ]  # fmt: skip
    card = (alone / "MODEL_CARD.md").read_text()
    assert "| Gas Velocity |" in card
    assert "the mean of 2 networks" in card
    # with so few validation samples less than 95% can be promised
    promised = json.loads((alone / "metrics.json").read_text())["spread_confidence"]
    assert promised < 0.95
    assert f"intervals of nominally {percent(promised)}" in card


@pytest.mark.parametrize("shape", [(60, 24), (60, 3, 24)])
def test_signals_with_and_without_an_axis_of_channels(make_config, make_arrays, shape, tmp_path):
    from hpo_utils.study.search import run_study
    from hpo_utils.winner.settle import settle_winner

    x = np.random.default_rng(0).normal(7, 3, size=shape)
    cfg = make_config("model.hidden=4", "training.epochs=1", "dataset.downsample_factor=2",
                      **make_arrays(x, x.reshape(60, -1)[:, :1]),
                      **{"study.n_trials": 1, "evaluation.n_seeds": 0})  # fmt: skip
    study = run_study(cfg)
    settle_winner(study, cfg)
    bundle = winner_directory(tmp_path / "runs", study.study_name) / "bundle"
    found = predict(bundle, x)
    assert found.y.shape == (60, 1)
    assert (found.spread == 0).all()
    inside = found.half_width[~found.is_outside]
    assert (inside == inside[0]).all()  # one network: all of one width
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    y = session.run(None, {"x": x.astype(np.float32)})[0]
    np.testing.assert_allclose(y, found.y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("out", "half_width"), [
    ("y.npy", "y.npy"), ("y.csv", "./y.csv"), ("y.npy", "link.npy"), ("y.npy", "folder/../y.npy"),
    ("x.npy", None), ("linked_x.npy", None), ("y.npy", "x.npy"), ("y.npy", "w.txt"),
])  # fmt: skip
def test_outputs_take_no_place_of_each_other_or_of_an_input(
    settled, tmp_path, monkeypatch, capsys, out, half_width
):
    cfg, study = settled
    bundle = winner_directory(Path(cfg.paths.outputs_root), study.study_name) / "bundle"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    shape = load_bundle(bundle).layout.raw_shape
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    np.save("x.npy", x)
    Path("link.npy").symlink_to("y.npy")
    os.link("x.npy", "linked_x.npy")
    before = {path.name for path in tmp_path.iterdir()}
    given = ["predict", str(bundle), "x.npy", "--out", out]
    given += [] if half_width is None else ["--half-width", half_width]
    assert main(given) == 2
    assert "predictions must" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before
    np.testing.assert_array_equal(np.load("x.npy"), x)


def test_files_of_other_programs_predict_and_are_compared(home, tmp_path, capsys):
    bundle, raw, _ = home
    known = predict(bundle, raw[:20])
    savemat(tmp_path / "later.mat", {"x": raw[:20]})
    rows = [
        ",".join(load_bundle(bundle).layout.target_names),
        *(",".join(map(str, y)) for y in known.y),
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    files = [str(bundle), str(tmp_path / "later.mat")]
    assert main(["predict", *files, "--out", str(tmp_path / "y.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), known.y, rtol=1e-4, atol=1e-5)
    assert main(["evaluate", *files, str(tmp_path / "t.csv")]) == 0
    assert "Gas Velocity" in capsys.readouterr().out


PREDICTS = project_root() / "requirements-predict.txt"
MODULES = {"pyyaml": "yaml"}  # where a package is not called as its module


def test_the_command_needs_only_what_is_named_for_it(home, tmp_path):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:5])
    lines = [line for line in PREDICTS.read_text().splitlines() if not line.startswith("#")]
    packages = [line.partition(">=")[0] for line in lines]
    allowed = {"hpo_utils", *(MODULES.get(package, package) for package in packages)}
    program = f"""
import sys
from importlib.metadata import packages_distributions
installed = set(packages_distributions()) - {allowed!r} - {{"google", "flatbuffers", "packaging"}}
sys.modules.update(dict.fromkeys(installed))
from hpo_utils.__main__ import main
assert main(["predict", {str(bundle)!r}, "x.npy", "--out", "y.csv"]) == 0
sys.exit(main(["run"]))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(
        r"run needs a package: [\w.]+ is not installed: .*", done.stderr.splitlines()[-1]
    )
    header, *rows = (tmp_path / "y.csv").read_text().splitlines()
    assert header.startswith("Solid Velocity [m/s],Gas Velocity [m/s]")
    found = np.array([row.split(",")[:6] for row in rows], dtype=float)
    np.testing.assert_allclose(found, predict(bundle, raw[:5]).y, rtol=1e-3, atol=1e-4)


def test_its_own_program_gives_the_same_without_this_package_and_pytorch(home, tmp_path):
    bundle, raw, _ = home
    np.save(tmp_path / "x.npy", raw[:5])
    blocked = "import sys; sys.modules.update(torch=None, hpo_utils=None, pandas=None, scipy=None)"
    run = "import runpy; runpy.run_path(sys.argv[1] + '/predict.py', run_name='__main__')"
    program = f"{blocked}; sys.argv = ['', 'x.npy', 'y.csv', {str(bundle)!r}]; "
    program += run.replace("sys.argv[1]", "sys.argv[3]")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    header, *rows = (tmp_path / "y.csv").read_text().splitlines()
    found = np.array([row.split(",") for row in rows], dtype=float)
    known = predict(bundle, raw[:5])
    assert header.split(",")[:2] == ["Solid Velocity [m/s]", "Gas Velocity [m/s]"]
    np.testing.assert_allclose(found[:, :6], known.y, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[:, 6:], known.half_width, rtol=1e-2, atol=1e-4)
    raw = raw[:3].copy()
    raw[1, 0], raw[2, 1] = np.nan, np.nan  # the second is of a channel that is not in use
    _, y, half_width = runpy.run_path(str(bundle / "predict.py"))["predict"](raw)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(half_width).all(axis=1).tolist() == [False, True, False]
    program_text = (bundle / "predict.py").read_text()
    assert len(program_text.splitlines()) <= 60  # one screen
