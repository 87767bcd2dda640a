"""Every file that is read may be empty, cut or rotted: the next command goes on, or says why."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from hpo_utils.base.config import updated
from hpo_utils.base.errors import HpoError
from hpo_utils.bundle.bundle import predict
from hpo_utils.data.preparation import prepare_data
from hpo_utils.report.page import Report
from hpo_utils.report.verdict import show_answer
from hpo_utils.study.search import differs_from, load_existing_study, run_study
from hpo_utils.training.test_looks import looks_at_test
from hpo_utils.winner.settle import settle_winner, winner_directory

TRAINING = "20*/*/"
FILES = [
    "data/*-????????/manifest.json", "data/*-????????/x_train.npy", "data/*-????????/x_test.npy",
    "data/*-????????/t_val.npy", "data/*-????????/index_test.npy", "data/*-????????/audit.json",
    "data/*-????????/baselines-9.pt", "data/*-????????/seen-2-train-*.npz",
    "data/test_looks/*.jsonl", "data/source/*/x_train.npy",
    "data/source/*/t_train.npy", "optuna/study_summary.json", "winners/smoke/evaluation.json",
    "winners/smoke/predictions.npz", "winners/smoke/bundle/bundle.json",
    "winners/smoke/bundle/config.yaml", "winners/smoke/bundle/environment.json",
    "winners/smoke/bundle/metrics.json", "winners/smoke/bundle/weights.safetensors",
    f"{TRAINING}config.yaml", f"{TRAINING}trial_info.yaml", f"{TRAINING}metrics.json",
    f"{TRAINING}val_pred.npy", f"{TRAINING}y_pred.npy",
    f"{TRAINING}weights/model_simplecnn_real.pth",
]  # fmt: skip


def emptied(content: bytes, _: np.random.Generator) -> bytes:
    return b""


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, max(2, len(content))))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(content)
    for place in rng.integers(0, len(spoilt), 1 + len(spoilt) // 1000):
        spoilt[place] ^= int(rng.integers(1, 256))
    return bytes(spoilt)


@pytest.fixture(scope="module")
def found(settled, tmp_path_factory):
    """A settled study of which nothing is lost, in a place of its own."""
    cfg, _ = settled
    root = tmp_path_factory.mktemp("whole") / "runs"
    shutil.copytree(cfg.paths.outputs_root, root, symlinks=True)
    cfg = updated(cfg, {"paths.outputs_root": str(root)})
    settle_winner(run_study(cfg), cfg)
    return cfg, root


def everything(cfg, root: Path) -> list[float | None]:
    """Ask the next commands; return the scores of the study."""
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    shown = load_existing_study(cfg)
    show_answer(Report("04_analyze.ipynb"), shown, cfg)
    assert differs_from(shown, cfg) is None
    assert evaluation is not None
    x = np.load(prepare_data(cfg).manifest["sources"][0]["path"], mmap_mode="r")[:3]
    predict(winner_directory(root, study.study_name) / "bundle", np.array(x))
    looks_at_test(prepare_data(cfg))
    return [trial.value for trial in study.get_trials()]


DAMAGES = (emptied, cut, flipped)
CASES = [  # each file in one way, all three ways with `make test-faults`
    (pattern, damage)
    for i, pattern in enumerate(FILES)
    for damage in (DAMAGES if "HPO_ALL_FAULTS" in os.environ else [DAMAGES[i % 3]])
]


@pytest.mark.parametrize(("pattern", "damage"), CASES)
def test_a_damaged_file_stops_nothing_else(found, tmp_path, monkeypatch, pattern, damage):
    cfg, whole = found
    root = tmp_path / "runs"
    shutil.copytree(whole, root, symlinks=True)
    cfg = updated(cfg, {"paths.outputs_root": str(root)})
    rng = np.random.default_rng(len(pattern))
    files = sorted(root.glob(pattern))
    assert files, pattern
    for file in files:
        file.write_bytes(damage(file.read_bytes(), rng))
        if pattern.startswith(TRAINING):
            shutil.copystat(whole / file.relative_to(root), file)
    before = {file: file.read_bytes() for file in root.glob("20*/*/weights/*.pth")}
    sentence = ""
    try:
        assert len(everything(cfg, root)) >= 2
    except HpoError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 600
    kept = [file for file in before if file.is_file() and file.read_bytes() == before[file]]
    assert len(kept) == len(before)


def test_the_advice_on_a_damaged_training_can_be_followed(found, tmp_path):
    cfg, whole = found
    root = tmp_path / "runs"
    shutil.copytree(whole, root, symlinks=True)
    cfg = updated(cfg, {"paths.outputs_root": str(root)})
    study = run_study(cfg)
    (root / "winners/smoke/evaluation.json").unlink()
    (root / "winners/smoke/predictions.npz").unlink()
    member = root / study.user_attrs["settled"][0]
    weights = member / "weights/model_simplecnn_real.pth"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(HpoError, match="delete the folder of the training and run"):
        settle_winner(study, cfg)
    shutil.rmtree(member)
    assert everything(cfg, root)
