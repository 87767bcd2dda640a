import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from hpo_utils.data.scaling import Standardizer
from hpo_utils.scores.metrics import standardized_errors, target_metrics, varies


def test_known_values_by_hand():
    y_true = np.array([[1.0], [2.0], [3.0], [4.0]])
    y_pred = np.array([[1.0], [2.0], [3.0], [6.0]])
    found = target_metrics(y_true, y_pred, ["a"])["a"]
    assert found == {"mse": 1.0, "mae": 0.5, "rmse": 1.0, "bias": 0.5, "r2": pytest.approx(0.2)}


def test_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, 50, 3)).astype(np.float32)
    found = target_metrics(y_true, y_pred, ["a", "b", "c"])
    for k, name in enumerate("abc"):
        pair = (y_true[:, k], y_pred[:, k])
        assert found[name]["r2"] == pytest.approx(sklearn_metrics.r2_score(*pair), rel=1e-5)
        mae = sklearn_metrics.mean_absolute_error(*pair)
        assert found[name]["mae"] == pytest.approx(mae, rel=1e-5)


@pytest.mark.parametrize("n", [1, 4])
def test_r2_of_a_truth_that_does_not_vary_is_none(n):
    found = target_metrics(np.full((n, 1), 2.0), np.zeros((n, 1)), ["a"])["a"]
    assert found["r2"] is None
    assert found["mse"] == 4.0


def test_a_set_point_whose_mean_is_rounded_does_not_vary():
    truth = np.full((7, 1), 0.1)
    assert np.var(truth) > 0
    assert target_metrics(truth, np.zeros((7, 1)), ["a"])["a"]["r2"] is None


def test_standardised_errors_weigh_all_targets_alike():
    scaler = Standardizer(np.array([0.0, 0.0]), np.array([1.0, 100.0]))
    errors = standardized_errors(np.zeros((1, 2)), np.array([[1.0, 100.0]]), scaler)
    assert errors == {"mse": 1.0, "mae": 1.0}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1] * 10, False),
        ([5.0], False),
        ([1e6, 1e6 + 0.06], False),  # float32 does not tell them apart
        ([0.1, np.nextafter(np.float32(0.1), np.float32(1))], False),
        ([0.0, 0.0, 0.0], False),
        ([1.0, 1.001], True),
        ([1e-20, 2e-20], True),
        ([0.0, 1e-30], True),
    ],
)
def test_what_does_not_vary_has_no_r2(values, expected):
    y = np.array(values)[:, None]
    assert varies(y)[0] == expected
    found = target_metrics(y, y + 0.1 * np.abs(y), ["a"])["a"]
    assert (found["r2"] is not None) == expected
