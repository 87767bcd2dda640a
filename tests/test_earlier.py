"""What version 0.1 (commit 3ed9025) left goes on: a study begun, and a bundle written.

``earlier.tar.xz`` holds what it wrote with params/smoke.yaml, ``SETTINGS`` and 80 samples, without
figures and ONNX: the study ``settled``, whose winner's bundle predicts ``x_new.npy`` as in
``expected.json``; and the study ``begun``, interrupted after the first of two epochs of its second
trial, with the scores that version 0.1 came to when it went on.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from hpo_utils import load_bundle, load_config, predict, run_study
from hpo_utils.training.directory import read_trial_info
from hpo_utils.winner.settle import load_evaluation

SETTINGS = (
    "training.epochs=2", "model.hidden=4", "training.use_weighted_loss=false",
    "training.precision=float32", "study.n_workers=1", "synthetic.n_samples=80",
    "evaluation.n_seeds=2", "evaluation.n_best=1",
    "model.linear_start=false", "model.use_views=false", "dataset.thinning=pick",
)  # fmt: skip
ROUNDING = 2e-3  # of scores and of predictions, on another processor


@pytest.fixture
def earlier(tmp_path):
    with tarfile.open(Path(__file__).parent / "earlier.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def config_of(name, earlier):
    settings = (*SETTINGS, f"study.name={name}", f"paths.outputs_root={earlier}")
    return load_config("params/smoke.yaml", [*settings, "study.n_trials=3"])


def test_a_study_begun_earlier_goes_on_to_the_same_scores(earlier):
    study = run_study(config_of("begun", earlier))
    expected = json.loads((earlier / "expected.json").read_text())["scores"]
    assert study.study_name == "begun"
    assert [trial.value for trial in study.trials] == pytest.approx(expected, rel=ROUNDING)
    interrupted = read_trial_info(earlier / study.trials[1].user_attrs["output_dir"])
    assert interrupted["state"] == "COMPLETE"  # from its first epoch on: checkpoints are newer


def test_a_winner_settled_earlier_is_still_known(earlier):
    settings = [*SETTINGS, "study.name=settled", f"paths.outputs_root={earlier}"]
    study = run_study(load_config("params/smoke.yaml", [*settings, "study.n_trials=2"]))
    evaluation = load_evaluation(study, earlier)
    assert evaluation is not None
    assert evaluation["study_name"] == "settled"


def test_a_bundle_written_earlier_predicts_the_same(earlier):
    bundle = load_bundle(earlier / "winners/settled/bundle")
    found = predict(bundle, np.load(earlier / "x_new.npy")).y
    expected = json.loads((earlier / "expected.json").read_text())["y"]
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)
