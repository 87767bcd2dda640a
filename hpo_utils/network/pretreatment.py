"""Pretreatment of the inputs, as chemometrics does it, as the first layer of a network.

It takes standardised inputs. The raw ones differ from them by an offset and a factor per channel,
and so do the results. Rows of an image are treated as signals, except that ``log_spectrum`` is
taken along H.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hpo_utils.baselines.spectra import derivative, power_spectrum, standard_normal_variate
from hpo_utils.baselines.views import FLOOR, LINEAR

NONE = "none"
SCATTER = {"msc": 0, "emsc": 2}  # order of the polynomial baseline of each scatter correction
MIN_GAIN = 0.1  # a sample whose likeness to the reference is smaller is divided by no less
MIN_SPREAD = 1e-12  # of a channel after the pretreatment


class Pretreatment(nn.Module):
    """One pretreatment by its name in ``model.pretreatment``, then a scaler for each channel.

    ``snv``
        Standard normal variate: less the mean, over the standard deviation (ddof 0).
    ``msc``, ``emsc``
        Multiplicative scatter correction: each signal is regressed on the mean signal of the
        training part and a constant (``emsc``: a parabola), which are taken off (Martens and Stark,
        J. Pharm. Biomed. Anal. 9 (1991), 625-635).
    ``sg1``, ``sg2``
        First or second Savitzky-Golay derivative (``spectra.derivative``).
    ``snv_sg2``
        Standard normal variate of the second derivative.
    ``detrend``
        Less the straight line that fits best.
    ``log_spectrum``
        Logarithm of the power at each frequency above zero.

    Parameters
    ----------
    kind
        The name.
    sample_shape
        (n_channels, L) or (n_channels, H, W) of the inputs.
    """

    reference: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, kind: str, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.kind = kind
        shape = sample_shape if kind in SCATTER else (0,)
        self.register_buffer("reference", torch.zeros(shape, dtype=torch.float64))
        per_channel = (sample_shape[0], *(1,) * (len(sample_shape) - 1))
        self.register_buffer("mean", torch.zeros(per_channel, dtype=torch.float64))
        self.register_buffer("std", torch.ones(per_channel, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Fit to inputs (n_samples, n_channels, ...) of the training part."""
        x = x.to(torch.float64)
        if self.kind in SCATTER:
            self.reference.copy_(x.mean(0))
        treated = self.treat(x)
        axes = (0, *range(2, x.ndim))
        self.mean.copy_(treated.mean(axes).reshape(self.mean.shape))
        self.std.copy_(
            treated.std(axes, correction=0).clamp(min=MIN_SPREAD).reshape(self.std.shape)
        )

    def treat(self, x: Tensor) -> Tensor:
        """Return pretreated inputs, not yet scaled; both are float64."""
        match self.kind:
            case "snv":
                return standard_normal_variate(x)
            case "sg1" | "sg2":
                return derivative(x, int(self.kind[-1]))
            case "snv_sg2":
                return standard_normal_variate(derivative(x, 2))
            case "detrend":
                return x - x @ _onto_polynomials(x, 1)
            case "log_spectrum":
                last = x.ndim - 1
                power = power_spectrum(x.movedim(2, last), (last,))[..., 1:]
                return (power + FLOOR[LINEAR]).log10().movedim(last, 2)
            case _:
                return self._without_scatter(x)

    def _without_scatter(self, x: Tensor) -> Tensor:
        """Return inputs less their baselines, over their gains.

        Taking the polynomial off both the signal and the reference first gives the gain of the
        joint regression (the theorem of Frisch, Waugh and Lovell).
        """
        onto = _onto_polynomials(x, SCATTER[self.kind])
        rest = self.reference - self.reference @ onto
        gain = (x * rest).sum(-1, keepdim=True) / rest.square().sum(-1, keepdim=True).clamp(
            min=MIN_SPREAD
        )
        kept = torch.where(gain < 0, -1.0, 1.0) * gain.abs().clamp(min=MIN_GAIN)
        baseline: Tensor = (x - kept * self.reference) @ onto
        return (x - baseline) / kept

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, ...) to pretreated inputs of the same number of axes, float32."""
        return ((self.treat(x.to(torch.float64)) - self.mean) / self.std).to(torch.float32)


def _onto_polynomials(x: Tensor, order: int) -> Tensor:
    """Return the matrix (L, L) that maps signals (..., L) to the polynomial that fits them best."""
    length = int(x.shape[-1])
    powers = range(min(order + 1, length))
    basis = np.stack([np.linspace(-1.0, 1.0, length) ** k for k in powers], axis=1)
    orthonormal = np.linalg.qr(basis)[0]
    return torch.from_numpy(orthonormal @ orthonormal.T).to(x)
