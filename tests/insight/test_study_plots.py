"""Words in figures of many parameters: none lies on another."""

from itertools import combinations

import optuna
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Affine2D

from hpo_utils.insight.study_plots import plot_parallel_coordinates, plot_slices

PRETREATMENTS = ["none", "snv", "sg1", "snv_sg2", "log_spectrum"]


@pytest.fixture
def trials():
    """Return trials of 26 parameters, one with long words beside some with short ones."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))

    def objective(trial):
        for name in ("use_residual", "linear_start", "use_views"):
            trial.suggest_categorical(f"model.{name}", [True, False])
            trial.suggest_categorical("model.pretreatment", PRETREATMENTS)
        trial.suggest_float("training.learning_rate", 1e-4, 1e-2, log=True)
        trial.suggest_int("dataset.downsample_factor", 1, 2)
        return sum(trial.suggest_float(f"training.weight_target_{k}", 0.1, 10) for k in range(20))

    study.optimize(objective, n_trials=4)
    return study.trials


@pytest.mark.parametrize("draw", [plot_parallel_coordinates, plot_slices])
def test_no_word_lies_on_another(trials, draw):
    figure = draw(trials)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[:4]  # of all parameters, or of the first four, with the long words
    texts = [t for each in axes for t in (*each.get_xticklabels(), *each.texts) if t.get_text()]
    corners = [(t.get_text(), _corners(t, canvas.get_renderer())) for t in texts]
    for (one, a), (other, b) in combinations(corners, 2):
        assert not _overlap(a, b), (one, other)


def _corners(text, renderer):
    """Return the corners of a text's box, turned as the text is."""
    angle = text.get_rotation()
    text.set_rotation(0)
    box = text.get_window_extent(renderer)
    text.set_rotation(angle)
    at = text.get_transform().transform(text.get_position())
    return Affine2D().rotate_deg_around(*at, angle).transform(box.shrunk(0.9, 0.8).corners())


def _overlap(a, b):
    """Return whether two turned boxes overlap: no axis of either parts them."""
    for box in (a, b):
        for edge in (box[1] - box[0], box[2] - box[0]):
            one, other = a @ edge, b @ edge
            if one.max() <= other.min() or other.max() <= one.min():
                return False
    return True
