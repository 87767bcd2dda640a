import numpy as np
import pandas as pd
import pytest

from hpo_utils.insight.winner_plots import (
    plot_error_correlations,
    plot_folds,
    plot_race,
    plot_residuals,
    plot_sensitivity,
    plot_test_intervals,
)


def contender(name, *scores, **more):
    return {"name": name, "scores": list(scores), "mean": sum(scores) / len(scores),
            "interval": (min(scores), max(scores)), "study_score": 0.2, "beaten": False,
            **more}  # fmt: skip


@pytest.mark.parametrize("n_contenders", [1, 3, 11])
def test_the_race_has_a_line_for_each_contender(n_contenders):
    rows = [contender(f"trial {i}", 0.2, 0.3) for i in range(n_contenders)]
    rows[-1] |= {"beaten": True, "scores": [None, 0.4], "mean": None, "interval": (None, None)}
    figure = plot_race(rows, [row["name"] for row in rows], "validation MSE")
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == f"trial {n_contenders - 1} (given up)"
    assert len(names) == n_contenders
    assert axes.get_xlabel() == "validation MSE (lower is better)"
    figure.canvas.draw()


@pytest.mark.parametrize("n_targets", [1, 6, 12])
def test_each_target_has_every_model(n_targets):
    names = [f"target {k}" for k in range(n_targets)]
    errors = {"r2": 0.5, "r2_interval": (0.3, 0.6)}
    far = {"r2": -7.0, "r2_interval": (-9.0, None)}
    test = {"network": dict.fromkeys(names, errors), "training mean": dict.fromkeys(names, far)}
    test["network"] = {**test["network"], names[0]: {"r2": None, "r2_interval": (None, None)}}
    figure = plot_test_intervals(test, names)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_xlim()[0] > -1.2  # what is far off does not squeeze the rest
    assert "below -1" in [text.get_text() for text in figure.legends[0].get_texts()]
    figure.canvas.draw()


@pytest.mark.parametrize(("lowest", "left"), [(0.8, 0.75), (-7.0, -1.05)])
def test_the_axis_of_all_folds_begins_below_the_lowest(lowest, left):
    far = {"r2": -9.0, "r2_interval": (None, None)} if lowest < -1 else {"r2": 0.9,
           "r2_interval": (0.85, 0.95)}  # fmt: skip
    both = {"a": {"r2": 0.9, "r2_interval": (0.85, 0.95)}, "b": far}
    folds = {"fold_r2": [[0.9, lowest], [0.95, None]], "test": {"network": both, "best": both},
             "folds": [1, 3], "own": 3}  # fmt: skip
    figure = plot_folds(folds, ["a", "b"])
    (axes,) = figure.axes
    assert axes.get_xlim() == pytest.approx((left, 1.02))
    figure.canvas.draw()


@pytest.mark.parametrize(("n_targets", "n_samples"), [(1, 3), (6, 100), (12, 40)])
def test_residuals_have_units_and_a_line_where_there_are_enough_samples(n_targets, n_samples):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(n_samples, n_targets))
    figure = plot_residuals(
        y, y + 1, [f"target {k}" for k in range(n_targets)], ["m/s"] * n_targets
    )
    assert len(figure.axes) == n_targets
    assert figure.axes[0].get_ylabel() == "predicted - measured [m/s]"
    medians = figure.axes[0].lines[1:]
    assert len(medians) == (n_samples >= 10)
    for line in medians:
        np.testing.assert_allclose(line.get_ydata(), 1.0)
    figure.canvas.draw()


def test_errors_of_a_logarithmic_target_are_ratios():
    y = np.geomspace(1e-3, 1e3, 30)[:, None]
    figure = plot_residuals(y, 1.5 * y, ["counts"], ["1/l"], logarithmic=[0])
    (axes,) = figure.axes
    assert axes.get_ylabel() == "predicted / measured"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    zero, medians = axes.lines
    assert list(zero.get_ydata()) == [1.0, 1.0]
    np.testing.assert_allclose(medians.get_ydata(), 1.5)
    figure.canvas.draw()


@pytest.mark.parametrize("n_targets", [2, 6, 12])
def test_every_two_targets_have_a_square(n_targets):
    names = [f"target {k}" for k in range(n_targets)]
    figure = plot_error_correlations(pd.DataFrame(np.eye(n_targets), names, names))
    axes = figure.axes[0]
    assert len(axes.texts) == n_targets**2
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true value of", "size of the error in")
    figure.canvas.draw()


def test_a_map_of_images_counts_the_places_of_the_source():
    figure = plot_sensitivity(np.ones((6, 2, 4, 5)), list("abcdef"), ["A", "B"], ["t", "z"],
                              [np.arange(0, 12, 3), np.arange(5)])  # fmt: skip
    image = figure.axes[0].images[0]
    assert image.get_extent() == [0, 5, 12, 0]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("z", "t")


def test_of_many_channels_those_that_count_most_have_a_line():
    maps = np.ones((2, 20, 7))
    maps[0, 3] = maps[1, 17] = 9.0
    figure = plot_sensitivity(maps, ["a", "b"], [f"c{i}" for i in range(20)], ["t"], [np.arange(7)])
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert len(labels) == 8
    assert {"c3", "c17"} <= set(labels)
    assert figure.legends[0].get_title().get_text() == "the 8 of 20 channels that count most"


def test_a_map_of_signals_has_a_line_per_channel():
    figure = plot_sensitivity(np.ones((1, 2, 7)), ["a"], ["A", "B"], ["wavelength"],
                              [np.arange(0, 14, 2)])  # fmt: skip
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["A", "B"]
    assert list(axes.lines[0].get_xdata()) == list(range(0, 14, 2))
    assert axes.get_xlabel() == "wavelength"
