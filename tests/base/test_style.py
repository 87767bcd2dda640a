import copy
from datetime import timedelta

import numpy as np
import optuna
import pandas as pd
import pytest
from conftest import study_of
from matplotlib import rcParams
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hpo_utils.base.style import save_figure, target_color, with_unit
from hpo_utils.data.preparation import prepare_data
from hpo_utils.insight import correlations, data_plots, study_plots, target_plots
from hpo_utils.insight.importances import parameter_importances
from hpo_utils.report import data_tables, tables
from hpo_utils.scores.metrics import target_metrics
from hpo_utils.trials.figures import plot_learning_curves, plot_prediction_vs_truth

HISTORY = {"train_losses": [1.0, 0.5], "val_losses": [1.1, 0.7], "scores": [0.9, 0.8]}


def texts_of(figure):
    """All labels that are drawn, after a real rendering."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_axis_labels_carry_units():
    assert with_unit("measured", "m/s") == "measured [m/s]"
    assert with_unit("measured", "-") == "measured"


@pytest.mark.parametrize("n_targets", [1, 2, 6, 12])
def test_predictions_have_a_panel_and_a_colour_per_target(n_targets):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, 20, n_targets))
    names = [f"t{k}" for k in range(n_targets)]
    metrics = target_metrics(y_true, y_pred, names)
    figure = plot_prediction_vs_truth(y_true, y_pred, names, ["m"] * n_targets, metrics)
    assert [axes.get_title(loc="left") for axes in figure.axes] == names
    has_room = n_targets < 12  # small panels carry no numbers
    assert (f"{metrics['t0']['r2']:.3f}" in "".join(texts_of(figure))) == has_room
    assert "measured [m]" in texts_of(figure)


def test_a_logarithmic_target_has_logarithmic_axes():
    y = np.column_stack([np.linspace(1, 2, 20), np.geomspace(1e-3, 1e3, 20)])
    names = ["level", "count"]
    figure = plot_prediction_vs_truth(y, y, names, ["-", "-"], target_metrics(y, y, names), [1])
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log"]
    low, high = figure.axes[1].get_ylim()
    assert 1e-4 < low < 1e-3 < 1e3 < high < 1e4
    figure.canvas.draw()
    labels = {label.get_text() for label in figure.axes[1].get_xticklabels()}
    assert {"0.1", "10"} <= labels


def test_a_truth_that_does_not_vary_is_drawn():
    y = np.ones((1, 1))
    figure = plot_prediction_vs_truth(y, y, ["a"], ["-"], target_metrics(y, y, ["a"]))
    assert "R² not defined" in "".join(texts_of(figure))


def test_learning_curves_mark_the_epoch_that_is_kept():
    assert "kept: epoch 2, 0.8" in texts_of(plot_learning_curves(HISTORY, 2))


def test_a_saved_figure_is_a_png_and_leaves_the_settings_alone(tmp_path):
    before = dict(rcParams)
    save_figure(tmp_path / "f.png", plot_learning_curves(HISTORY, 1))
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert dict(rcParams) == before


def test_the_same_target_has_the_same_colour_everywhere(make_config):
    data = prepare_data(make_config())
    histogram = data_plots.plot_target_histograms(data)
    drawn = histogram.axes[1].collections[0].get_facecolor()[0][:3]
    assert drawn == pytest.approx(to_rgb(target_color(1)), abs=1e-3)
    diagonal = correlations.plot_target_pairs(data).axes[data.n_targets + 1]
    assert diagonal.collections[0].get_facecolor()[0][:3] == pytest.approx(drawn, abs=1e-3)


@pytest.mark.parametrize("shape", [(30, 16), (30, 3, 16), (30, 3, 8, 6)])
def test_data_figures_and_tables_of_every_layout(make_config, make_arrays, shape):
    x = np.random.default_rng(0).normal(size=shape)
    data = prepare_data(make_config(**make_arrays(x)))
    for figure in (
        data_plots.plot_target_histograms(data),
        correlations.plot_target_correlations(data),
        correlations.plot_target_pairs(data),
        data_plots.plot_samples(data, target=1),
    ):
        assert isinstance(figure, Figure)
        assert any("target 1" in text.replace("\n", " ") for text in texts_of(figure))
    assert data_tables.parts_table(data)["samples"].sum() == 30
    assert len(data_tables.channels_table(data)) == (1 if len(shape) == 2 else 3)


def test_of_many_channels_the_first_are_drawn(make_config, make_arrays):
    x = np.random.default_rng(0).normal(size=(30, 40, 16))
    named = {"dataset.channel_names": [f"channel {i}" for i in range(40)]}
    data = prepare_data(make_config(**make_arrays(x), **named))
    figure = data_plots.plot_samples(data, target=0)
    assert len(figure.axes) == 3 * data_plots.MAX_DRAWN
    assert "the first 8 of 40 channels" in texts_of(figure)


def test_samples_are_drawn_from_lowest_to_highest(make_config, make_arrays):
    x = np.arange(30.0)[:, None] + np.random.default_rng(0).normal(size=(30, 16))
    t = np.arange(30.0)[:, None]
    data = prepare_data(make_config(**make_arrays(x, t)))
    titles = [a.get_title(loc="left") for a in data_plots.plot_samples(data, target=0).axes]
    values = [float(title.split()[-1]) for title in titles]
    assert values == sorted(values)
    lines = [axes.lines[0].get_ydata().mean() for axes in data_plots.plot_samples(data, 0).axes]
    assert lines == sorted(lines)  # the signals are those of the titles


def test_signals_too_fast_to_see_are_shown_with_their_spectra(make_config, make_arrays):
    """A tone of five periods per millisecond."""
    time = np.linspace(0, 100, 2048)  # ms
    tone = np.sin(2 * np.pi * 5.0 * time) + 0.01 * np.random.default_rng(0).normal(size=(30, 2048))
    tone[::2] = 0.0  # a sensor that was off has no spectrum
    settings = {"dataset.axis_names": ["time [ms]"], "dataset.axis_ranges": [[0, 100]]}
    data = prepare_data(make_config(**make_arrays(tone), **settings))
    axes = data_plots.plot_samples(data, target=0).axes
    assert [a.get_xlabel() for a in axes] == ["time [ms]"] * 3 + ["frequency [kHz]"] * 3
    spectra = [a.lines[0].get_data() for a in axes[3:]]
    peaks = [frequency[density.argmax()] for frequency, density in spectra if np.ptp(density) > 0]
    assert 0 < len(peaks) <= 3
    assert peaks == pytest.approx([5.0] * len(peaks), abs=0.02)


def test_what_is_drawn_higher_than_it_lies_is_marked():
    r2 = pd.DataFrame({"a": [0.4, -3.0, 0.1], "b": [0.2, 0.3, 0.4]})
    axes = target_plots.plot_trade_off(r2, {0, 2}, 0).axes[0]
    (mark,) = [line for line in axes.lines if line.get_marker() == "v"]
    np.testing.assert_array_equal(mark.get_xydata(), [[0, -0.1]])
    assert "some lie below -0.1" in texts_of(target_plots.plot_trade_off(r2, {0, 2}, 0))
    assert "some lie below -0.1" not in texts_of(target_plots.plot_trade_off(r2.clip(0), {0}, 0))


@pytest.mark.parametrize(("n_complete", "n_pruned"), [(1, 0), (5, 3), (0, 4), (60, 140)])
def test_study_figures_of_any_size(n_complete, n_pruned):
    trials = study_of(n_complete, n_pruned).trials
    history = texts_of(study_plots.plot_optimization_history(trials))
    assert (f"complete ({n_complete})" in history) == (n_complete > 0)
    assert (f"pruned: last score ({n_pruned})" in history) == (n_pruned > 0)
    assert any(
        "pruned" in text for text in texts_of(study_plots.plot_trial_learning_curves(trials))
    )
    if n_complete:
        coordinates = texts_of(study_plots.plot_parallel_coordinates(trials))
        assert {"learning_rate", "hidden", "use_residual", "1e-05", "0.01", "128"} <= set(
            coordinates
        )
    assert len(tables.trials_table(trials)) == n_complete + n_pruned


def test_importances_are_drawn_with_their_uncertainty():
    figure = study_plots.plot_importances(parameter_importances(study_of(40)), 40)
    assert "Importance, from 40 complete trials" in texts_of(figure)
    spans = [segment for lines in figure.axes[0].collections for segment in lines.get_segments()]
    assert any(segment[1, 0] > segment[0, 0] for segment in spans)


def test_slices_pairs_and_timeline():
    trials = study_of(12, 3).trials
    slices = study_plots.plot_slices(trials)
    assert {"learning_rate", "hidden", "use_residual"} <= set(texts_of(slices))
    pairs = [("model.hidden", "training.learning_rate"), ("model.use_residual", "model.hidden")]
    assert {"learning_rate", "hidden", "True"} <= set(
        texts_of(study_plots.plot_pairs(trials, pairs))
    )
    left, right = study_plots.plot_slices(trials).axes[0].get_xlim()
    assert left < 1e-5
    assert right > 1e-2
    timeline = texts_of(study_plots.plot_timeline(trials))
    assert {"worker 1", "complete", "pruned", "failed"} <= set(timeline)
    assert "time since the first trial [min]" in timeline


def test_a_long_timeline_of_many_workers_can_be_read():
    trials = [copy.deepcopy(trial) for trial in study_of(12, 3).trials * 20]
    for i, trial in enumerate(trials):
        trial.user_attrs["owner"] = {"host": "a", "pid": i // 3}
        trial.datetime_complete = trial.datetime_start + timedelta(hours=4)
    figure = study_plots.plot_timeline(trials)
    assert "time since the first trial [h]" in texts_of(figure)
    assert figure.axes[0].patches[0].get_width() == pytest.approx(4.0)
    assert len(figure.axes[0].get_yticks()) <= study_plots.MAX_WORKERS
    assert figure.get_size_inches()[1] < 9


def test_how_trials_ended():
    study = optuna.create_study()
    for state, attrs, n_epochs in (
        ("COMPLETE", {"effort": {"epochs_planned": 4}}, 4),
        ("COMPLETE", {"effort": {"epochs_planned": 4}}, 4),
        ("COMPLETE", {"effort": {"epochs_planned": 4}}, 2),
        ("COMPLETE", {"same_as": 0}, 4),
        ("PRUNED", {}, 1),
        ("PRUNED", {"failure": "DivergenceError: the loss must stay finite"}, 3),
        ("FAIL", {"failure": "InfeasibleError: two samples must fit"}, 0),
        ("FAIL", {}, 1),
    ):
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=1.0 if state == "COMPLETE" else None,
                user_attrs=attrs,
                intermediate_values=dict.fromkeys(range(1, n_epochs + 1), 1.0),
            )
        )
    table = tables.endings_table(study.trials)
    assert table["trials"].to_dict() == {
        "complete: all epochs": 2,
        "complete: the score stood still": 1,
        "same configuration as an earlier trial: not trained again": 1,
        "pruned: worse than the median of the others": 1,
        "pruned: DivergenceError": 1,
        "failed: InfeasibleError": 1,
        "failed: its process died": 1,
    }
    assert table.loc["complete: all epochs", "epochs (median)"] == 4
    assert tables.endings_table([]).empty


def test_a_parameter_of_one_value_has_an_axis_too():
    distributions = {
        "training.learning_rate": optuna.distributions.FloatDistribution(1e-3, 1e-3, log=True),
        "model.hidden": optuna.distributions.IntDistribution(8, 8),
    }
    params = {"training.learning_rate": 1e-3, "model.hidden": 8}
    trial = optuna.trial.create_trial(value=0.5, params=params, distributions=distributions)
    assert len(study_plots.plot_slices([trial]).axes) == 3  # two parameters and the colour bar
