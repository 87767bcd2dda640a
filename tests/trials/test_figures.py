"""The figures of a training are drawn from its files, once."""

import json
import subprocess
import sys

import pytest

from hpo_utils.base.errors import StudyError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.directory import SCATTER_FILE, create_trial_output_dir
from hpo_utils.training.train import train_trial
from hpo_utils.trials.figures import CURVES_FILE, draw_figures

FIGURES = (CURVES_FILE, SCATTER_FILE)


@pytest.fixture
def trained(make_config):
    cfg = make_config("training.epochs=1", "model.hidden=4")
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    train_trial(cfg, output_dir, prepare_data(cfg))
    return output_dir


def test_figures_are_drawn_from_what_was_saved_and_only_if_missing(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert not any((trained / figure).exists() for figure in FIGURES)
    draw_figures(trained, metrics)
    drawn = [(trained / figure).stat().st_mtime_ns for figure in FIGURES]
    assert all((trained / figure).read_bytes().startswith(b"\x89PNG") for figure in FIGURES)
    draw_figures(trained, metrics)
    assert [(trained / figure).stat().st_mtime_ns for figure in FIGURES] == drawn


def test_damaged_predictions_are_said(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    (trained / "y_pred.npy").write_bytes(b"")
    with pytest.raises(StudyError, match="y_pred.npy is missing or damaged"):
        draw_figures(trained, metrics)


def test_a_training_needs_no_matplotlib():
    script = "import sys, hpo_utils.training.train; print('matplotlib' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"
