import numpy as np
import pytest
import torch
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import (
    ExtendedMultiplicativeScatterCorrection,
    MultiplicativeScatterCorrection,
    StandardNormalVariate,
)
from scipy.signal import detrend, savgol_filter

from hpo_utils.network.pretreatment import Pretreatment

KINDS = ["snv", "msc", "emsc", "sg1", "sg2", "snv_sg2", "detrend", "log_spectrum"]
RNG = np.random.default_rng(0)
PLACE = np.linspace(0, 1, 80)
PURE = np.stack([np.exp(-0.5 * ((PLACE - c) / 0.08) ** 2) for c in (0.2, 0.45, 0.7)])
X = RNG.uniform(0.5, 2, (30, 1)) * (RNG.dirichlet(5 * np.ones(3), 30) @ PURE + 0.5)
X = X + RNG.uniform(-1, 1, (30, 1)) + RNG.uniform(-0.1, 0.1, (30, 1)) * PLACE


def fitted(kind, x):
    layer = Pretreatment(kind, tuple(x.shape[1:]))
    layer.fit(x)
    return layer


ORACLES = {
    "snv": lambda x: StandardNormalVariate().fit_transform(x),
    "msc": lambda x: MultiplicativeScatterCorrection().fit_transform(x),
    "emsc": lambda x: ExtendedMultiplicativeScatterCorrection().fit_transform(x),
    "sg1": lambda x: savgol_filter(x, 11, 2, deriv=1),
    "sg2": lambda x: SavitzkyGolay(11, 2, 2, mode="interp").fit_transform(x),
    "snv_sg2": lambda x: StandardNormalVariate().fit_transform(savgol_filter(x, 11, 2, deriv=2)),
    "detrend": detrend,
}


@pytest.mark.parametrize("kind", ORACLES)
def test_each_gives_what_scipy_and_chemotools_give(kind):
    x = torch.from_numpy(X)[:, None]
    found = fitted(kind, x).treat(x)[:, 0].numpy()
    np.testing.assert_allclose(found, ORACLES[kind](X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(20, 2, 30), (20, 2, 12, 15), (20, 1, 3)])
def test_the_result_is_standardised_and_onnx_gives_the_same(kind, shape, run_onnx):
    x = torch.from_numpy(RNG.normal(3, 2, size=shape).astype(np.float32))
    layer = fitted(kind, x)
    found = layer(x)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    axes = (0, *range(2, x.ndim))
    torch.testing.assert_close(found.mean(axes), torch.zeros(shape[1]), atol=1e-4, rtol=0.0)
    np.testing.assert_allclose(run_onnx(layer, x), found, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["snv", "msc", "emsc", "sg1", "sg2", "snv_sg2", "detrend"])
def test_raw_and_standardised_inputs_come_to_the_same(kind):
    x = torch.from_numpy(X)[:, None]
    standardised = (x - x.mean()) / x.std()
    torch.testing.assert_close(
        fitted(kind, standardised)(standardised), fitted(kind, x)(x), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_flat_signals_stay_finite(kind):
    x = torch.zeros(6, 1, 30)
    assert torch.isfinite(fitted(kind, x)(x)).all()


def test_the_reference_is_that_of_the_training_part():
    x = torch.from_numpy(X)[:, None]
    layer = fitted("msc", x[:20])
    torch.testing.assert_close(layer.reference[0], x[:20, 0].mean(0))
    again = Pretreatment("msc", (1, 80))
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x), layer(x))
