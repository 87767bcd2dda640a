import numpy as np
import pytest

from hpo_utils.insight.residuals import (
    error_correlations,
    errors_by_group,
    sample_errors,
    worst_samples,
)

TRUE = np.array([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], np.float32)
OFF = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 20.0], [3.0, 40.0]], np.float32)
STD = [1.0, 10.0]


def test_errors_count_in_standard_deviations():
    expected = [0, np.sqrt(1 / 2), np.sqrt(4 / 2), np.sqrt((9 + 16) / 2)]
    np.testing.assert_allclose(sample_errors(TRUE, TRUE + OFF, STD), expected, rtol=1e-6)


def test_the_worst_come_first():
    assert list(worst_samples(TRUE, TRUE + OFF, STD, 2)) == [3, 2]
    assert len(worst_samples(TRUE, TRUE + OFF, STD, 10)) == 4


def test_groups_are_ranked_by_their_error():
    table = errors_by_group(TRUE, TRUE + OFF, np.array([7, 7, 3, 3]), ["a", "b"], STD)
    assert list(table.index) == [3, 7]
    assert list(table["samples"]) == [2, 2]
    assert table.loc[3, "a"] == pytest.approx(np.sqrt(9 / 2))
    assert table.loc[3, "b"] == pytest.approx(np.sqrt((4 + 16) / 2))
    assert table.loc[7, "all targets"] == pytest.approx(np.sqrt(1 / 4))


def test_targets_may_be_called_as_the_columns_beside_them():
    y = np.arange(8.0).reshape(4, 2)
    table = errors_by_group(y, y + 1, np.array([0, 0, 1, 1]), ["samples", "all targets"], [1, 1])
    assert list(table.columns) == ["samples", "samples", "all targets", "all targets"]


def test_an_error_that_grows_with_a_quantity_is_found():
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 2, (200, 2)).astype(np.float32)
    pred = true.copy()
    pred[:, 0] += 0.1 * true[:, 1]  # the first target errs with the second quantity
    found = error_correlations(true, pred, ["a", "b"])
    assert found.loc["a", "b"] > 0.99
    assert abs(found.loc["a", "a"]) < 0.3
    assert found.loc["b"].isna().all()  # it never errs
