import numpy as np
import pytest

from hpo_utils.baselines.fitted import MEAN, Baseline
from hpo_utils.baselines.take_home import (
    TAKE_HOME,
    choose_shares,
    described,
    mixed,
    name_at_home,
)
from hpo_utils.data.physics import Physics
from hpo_utils.data.scaling import Standardizer
from hpo_utils.scores.skill import NETWORK

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(60, 2)).astype(np.float32)
NOISE = 0.3 * RNG.normal(size=(3, 60, 2)).astype(np.float32)
SCALER = Standardizer(np.zeros(2), np.ones(2))


def shares(how, network, *baselines):
    named = [Baseline(f"b{i}", y, y) for i, y in enumerate(baselines)]
    mean = Baseline(MEAN, 0 * TRUTH, 0 * TRUTH)
    return choose_shares(how, TRUTH, network, [mean, *named], SCALER)


def test_a_network_far_ahead_goes_home_alone():
    assert list(shares("auto", TRUTH + 0.05 * NOISE[0], TRUTH + NOISE[1])) == [NETWORK]


def test_a_baseline_far_ahead_goes_home_alone():
    found = shares("auto", TRUTH + NOISE[0], TRUTH + NOISE[1], TRUTH + 0.05 * NOISE[2])
    assert found == {"b1": [1.0, 1.0]}


def test_models_that_err_unlike_each_other_go_home_together():
    found = shares("auto", TRUTH + NOISE[0], TRUTH + NOISE[1])
    assert found.keys() == {NETWORK, "b0"}
    np.testing.assert_allclose(np.sum(list(found.values()), axis=0), 1.0, atol=1e-3)
    assert min(found[NETWORK]) > 0.3
    joined = mixed(found, (TRUTH + NOISE[0])[None], {"b0": TRUTH + NOISE[1]}, Physics())[0]
    alone = min(((TRUTH + noise - TRUTH) ** 2).mean() for noise in NOISE[:2])
    assert ((joined - TRUTH) ** 2).mean() < 0.7 * alone


def test_each_target_has_its_own_shares():
    good_first = TRUTH + NOISE[0] * [0.01, 1.0]
    good_second = TRUTH + NOISE[1] * [1.0, 0.01]
    found = shares("auto", good_first, good_second)
    assert found[NETWORK] == [1.0, 0.0]
    assert found["b0"] == [0.0, 1.0]


def test_the_network_goes_home_if_told_so():
    assert shares("network", TRUTH + NOISE[0], TRUTH) == {NETWORK: [1.0, 1.0]}


def test_a_mixture_obeys_the_physics_that_its_parts_do_not_know():
    fractions = Physics(fractions=(0, 1))
    y = np.full((1, 4, 2), [0.7, 0.5], np.float32)
    found = mixed({NETWORK: [0.5, 1.0], "b": [0.5, 0.0]}, y, {"b": -y[0]}, fractions)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize(
    ("chosen", "said", "name"),
    [
        ({NETWORK: [1.0]}, "network", NETWORK),
        ({"b": [1.0, 1.0]}, "b", "b"),
        ({"b": [0.2, 0.4], NETWORK: [0.8, 0.6]}, "0.70 network + 0.30 b", TAKE_HOME),
    ],
)
def test_what_goes_home_is_named(chosen, said, name):
    assert (described(chosen), name_at_home(chosen)) == (said, name)
