"""The demo data carry the physics they claim: the tests measure it back from the signals."""

import numpy as np
import pytest

from hpo_utils.data import synthetic
from hpo_utils.data.synthetic import make_demo_data, sample_flow_states


@pytest.fixture(scope="module")
def data():
    return make_demo_data(n_samples=120, n_pulses=64, n_depths=96, seed=3)


@pytest.fixture(scope="module")
def states():
    return sample_flow_states(2000, np.random.default_rng(0))


def test_shapes_types_and_seed(data):
    x, t = data
    assert (x.shape, t.shape) == ((120, 4, 64, 96), (120, 6))
    assert (x.dtype, t.dtype) == (np.float32, np.float32)
    again = make_demo_data(n_samples=3, n_pulses=8, n_depths=8, seed=1)
    np.testing.assert_array_equal(again[0], make_demo_data(3, 8, 8, seed=1)[0])
    assert not np.array_equal(again[0], make_demo_data(3, 8, 8, seed=2)[0])


def test_fractions_sum_to_one_and_lie_between_zero_and_one(states):
    fractions = np.stack([states.eps_s, states.eps_g, states.eps_l])
    np.testing.assert_allclose(fractions.sum(axis=0), 1.0)
    assert (fractions >= 0).all()
    assert (fractions <= 1).all()


def test_gas_follows_the_drift_flux_model(states):
    fluxes = states.eps_g * states.u_g + states.eps_l * states.u_l + states.eps_s * states.u_s
    np.testing.assert_allclose(states.u_g, 1.2 * fluxes + 0.35)


def test_two_phase_samples_have_no_solids(states):
    none = states.eps_s == 0
    assert 0.10 < none.mean() < 0.20
    assert (states.u_s[none] == 0).all()
    assert (states.u_s[~none] > 0).all()


def test_the_lag_between_the_transducers_measures_the_gas_velocity(data):
    """Cross-correlation over slow time, averaged over depth: the classic two-sensor velocimeter."""
    x, t = data
    lags = np.arange(2, 32)
    velocities = []
    for upstream, downstream in x[:, [0, 2]]:
        a = upstream - upstream.mean(axis=0)  # the walls stand still: they go with the mean
        b = downstream - downstream.mean(axis=0)
        match = [np.mean(a[: len(a) - lag] * b[lag:]) for lag in lags]
        lag = lags[int(np.argmax(match))]
        velocities.append(synthetic.SENSOR_DISTANCE / (lag * synthetic.PULSE_INTERVAL))
    error = np.abs(np.array(velocities) / t[:, 1] - 1)
    assert np.median(error) < 0.10


def test_more_gas_gives_more_echo(data):
    x, t = data
    energy = x[:, [0, 2], :, 10:-10].std(axis=(1, 2, 3))
    assert np.corrcoef(energy, t[:, 4])[0, 1] > 0.8


def test_speckle_loses_correlation_faster_the_faster_the_liquid():
    rng = np.random.default_rng(0)

    def correlation(velocity):
        speckle = synthetic._liquid_speckle(velocity, 400, 100, rng)
        return np.corrcoef(speckle[:-1].ravel(), speckle[1:].ravel())[0, 1]

    for velocity in (0.5, 2.0):
        expected = np.exp(-velocity * synthetic.PULSE_INTERVAL / synthetic.SPECKLE_LENGTH)
        assert correlation(velocity) == pytest.approx(expected, abs=0.02)


def test_two_channels_are_saturated(data):
    x, _ = data
    assert set(np.unique(np.abs(x[:, [1, 3]])[np.abs(x[:, [1, 3]]) > 100])) == {1e6}
    assert np.abs(x[:, [0, 2]]).max() < 100
