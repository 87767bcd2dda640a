"""What goes home of whole studies, on data made for a baseline, for the network, and for both."""

import numpy as np
import pytest

from hpo_utils.baselines.take_home import NETWORK, name_at_home
from hpo_utils.study.search import run_study
from hpo_utils.winner.settle import settle_winner

N_SAMPLES, LENGTH = 400, 128
RNG = np.random.default_rng(0)
BUMP = np.exp(-0.5 * (np.arange(-3, 4) / 1.2) ** 2)


def spectra():
    """Overlapping peaks of four substances, and noise: the target is the amount of one."""
    amounts = RNG.uniform(size=(N_SAMPLES, 4))
    places = np.arange(LENGTH) - np.array([[40], [52], [64], [76]])
    x = amounts @ np.exp(-0.5 * (places / 14.0) ** 2)
    return x + 0.02 * RNG.normal(size=x.shape), amounts[:, 1]


def orders():
    """Three bumps anywhere, whose heights are 1 + a, 3, 2 - a: the target is a, from 0 to 1.

    Turned round, such a signal has the same values, steps and spectrum, so that no view tells a
    from 1 - a; a convolution does.
    """
    x, a = 0.02 * RNG.normal(size=(N_SAMPLES, LENGTH)), RNG.uniform(size=N_SAMPLES)
    for row, share in zip(x, a, strict=True):
        start = RNG.integers(LENGTH - 22)
        for place, height in enumerate((1 + share, 3, 2 - share)):
            row[start + 8 * place : start + 8 * place + 7] += height * BUMP
    return x, a


def both():
    """A target that is partly an amount in one channel, partly the order in another."""
    (spectrum, t), (order, a) = spectra(), orders()
    return np.stack([spectrum, order], axis=1), t + a


@pytest.mark.parametrize(
    ("made", "epochs", "at_home"),
    [
        (spectra, 1, lambda names: NETWORK not in names),
        (orders, 15, lambda names: names == [NETWORK]),
        (both, 12, lambda names: NETWORK in names and len(names) > 1),
    ],
)
def test_what_the_data_are_made_for_goes_home(make_config, make_arrays, made, epochs, at_home):
    x, t = made()
    cfg = make_config(
        *("model.linear_start=false", "model.use_views=false", "model.hidden=16"),
        *("training.learning_rate=3e-3", f"training.epochs={epochs}"),
        **make_arrays(x.astype(np.float32), t[:, None].astype(np.float32)),
        **{"study.n_trials": 1, "evaluation.n_seeds": 1},
    )
    study = run_study(cfg)
    examination = settle_winner(study, cfg)["examination"]
    shares = examination["shares"]
    assert at_home(list(shares)), shares
    error = {name: of["target 0"]["rmse"] for name, of in examination["test"].items()}
    assert error[name_at_home(shares)] < 1.05 * min(error.values())
