import pytest

from hpo_utils.winner_plots import plot_race, plot_test_intervals


def contender(name, *scores, **more):
    return {"name": name, "scores": list(scores), "mean": sum(scores) / len(scores),
            "interval": (min(scores), max(scores)), "study_score": 0.2, "beaten": False,
            **more}  # fmt: skip


@pytest.mark.parametrize("n_contenders", [1, 3, 11])
def test_the_race_has_a_line_for_each_contender(n_contenders):
    rows = [contender(f"trial {i}", 0.2, 0.3) for i in range(n_contenders)]
    rows[-1] |= {"beaten": True, "scores": [None, 0.4], "mean": None, "interval": (None, None)}
    figure = plot_race(rows, "validation MSE")
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
    figure.canvas.draw()
