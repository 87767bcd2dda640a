import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_utils.base.errors import DataError
from hpo_utils.data.physics import Physics, check_targets, find_physics, in_units, violations
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.scaling import Standardizer
from hpo_utils.network.constraints import PhysicalOutput

NAMES = ["u", "a", "b", "c"]
PHYSICS = Physics(fractions=(1, 2, 3), non_negative=(0,))
MEAN, STD = np.array([0.5, 0.1, 0.2, 0.7]), np.array([0.3, 0.1, 0.1, 0.15])


def physical(outputs, physics=PHYSICS):
    """Return targets in their units from raw outputs."""
    z = PhysicalOutput(physics, MEAN, STD)(torch.as_tensor(outputs, dtype=torch.float32))
    return z.double().numpy() * STD + MEAN


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([0.1, 1.0, 10.0, 1e3]))
def test_whatever_the_network_says_the_physics_holds(seed, scale):
    y = physical(np.random.default_rng(seed).normal(0, scale, (20, 4)))
    assert np.isfinite(y).all()
    assert set(violations(y, PHYSICS, NAMES).values()) == {0.0}


def test_outputs_of_zero_are_the_training_mean():
    np.testing.assert_allclose(physical(np.zeros((2, 4))), np.tile(MEAN, (2, 1)), atol=1e-6)


def test_a_small_step_moves_a_target_about_as_far_as_without_the_layer():
    step = physical([[0.01, 0.0, 0.0, 0.0], [0.0, 0.01, 0.0, 0.0]]) - MEAN
    assert 0.7 < step[0, 0] / (0.01 * STD[0]) <= 1.0
    assert 0.7 < step[1, 1] / (0.01 * STD[1]) <= 1.0  # 1 - its share


def test_a_single_fraction_lies_between_zero_and_one():
    y = physical([[0.0, 100.0, 3.0, 0.0], [0.0, -100.0, -3.0, 0.0]], Physics(fractions=(1,)))
    np.testing.assert_allclose(y[:, 1], [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(y[:, 2], [0.5, -0.1], rtol=1e-6)  # others are left alone


def test_gradients_reach_every_output():
    outputs = torch.zeros(3, 4, requires_grad=True)
    z = PhysicalOutput(PHYSICS, MEAN, STD)(outputs)
    (z * torch.randn(3, 4)).sum().backward()
    assert (outputs.grad != 0).all()


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
def test_rounding_does_not_undo_the_physics(scale):
    """Far from zero in units, the least that the layer can say may round to below it."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scaler = Standardizer(rng.uniform(0.1, 1, 1) * scale, rng.uniform(0.01, 0.5, 1) * scale)
        physics = Physics((), (0,))
        z = PhysicalOutput(physics, scaler.mean, scaler.std)(torch.full((1, 1), -200.0)).numpy()
        assert in_units(z, scaler, physics)[0, 0] >= 0


def test_violations_are_counted():
    y = np.array([[-1.0, 0.5, 0.5, 0.0], [1.0, -0.2, 0.6, 0.6], [1.0, 0.3, 0.3, 0.3]])
    assert violations(y, PHYSICS, NAMES) == {
        "u below 0": 1 / 3,
        "a outside [0, 1]": 1 / 3,
        "b outside [0, 1]": 0.0,
        "c outside [0, 1]": 0.0,
        "fractions do not sum to 1 ± 0.01": 1 / 3,
    }


WRONG_TARGETS = [
    ([[-0.1, 0.2, 0.3, 0.5]], "non_negative must name .* got -0.1 for 'u' in sample 1"),
    ([[0.1, 0.2, 0.3, 0.4]], r"fractions must name .* 0.2, 0.3, 0.4 \(sum 0.9\) in sample 1"),
    ([[0.1, -0.2, 0.7, 0.5]], r"got -0.2, 0.7, 0.5 \(sum 1\)"),
]


@pytest.mark.parametrize(("rows", "message"), WRONG_TARGETS)
def test_measured_targets_that_contradict_are_said(rows, message):
    with pytest.raises(DataError, match=message):
        check_targets(np.array([[1.0, 0.0, 0.5, 0.5], *rows]), PHYSICS, NAMES)


def test_a_name_that_is_no_target_is_said():
    with pytest.raises(DataError, match="dataset.fractions must name targets of u, a, b, c, got"):
        find_physics(NAMES, ["d"], [])


def test_the_demo_knows_its_physics(make_config):
    data = prepare_data(make_config())
    assert data.physics == Physics(fractions=(3, 4, 5), non_negative=(0, 1, 2))


def test_physics_stated_later_is_checked_and_needs_no_new_preparation(make_config, make_arrays):
    t = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32) ** 2
    arrays = make_arrays(t=t, **{"dataset.target_names": ["p", "q"]})
    first = prepare_data(make_config(**arrays))
    second = prepare_data(make_config(**arrays, **{"dataset.non_negative": ["q"]}))
    assert (first.physics, second.physics) == (Physics(), Physics((), (1,)))
    assert first.dataset_id == second.dataset_id
    with pytest.raises(DataError, match="must name targets in \\[0, 1\\] that sum to one"):
        prepare_data(make_config(**arrays, **{"dataset.fractions": ["p", "q"]}))
    np.testing.assert_array_equal(first.all_targets(), t)


@pytest.mark.parametrize("mean", [1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 1e-20])
@pytest.mark.parametrize("n_fractions", [1, 3])
def test_outputs_of_zero_give_the_mean_of_a_trace(mean, n_fractions):
    means = np.array([mean, 0.3, 0.7 - mean])[:n_fractions]
    layer = PhysicalOutput(Physics(tuple(range(n_fractions))), means, means / 3)
    z = layer(torch.zeros(2, n_fractions)).double().numpy()
    np.testing.assert_allclose(z * means / 3 + means, np.tile(means, (2, 1)), rtol=1e-5)
    layer = PhysicalOutput(Physics((), tuple(range(n_fractions))), means, means / 3)
    z = layer(torch.zeros(2, n_fractions)).double().numpy()
    np.testing.assert_allclose(z * means / 3 + means, np.tile(means, (2, 1)), rtol=1e-5)
