"""Power spectra and Savitzky-Golay derivatives as layers that ONNX files can hold.

Signals have shape (..., L). Nothing here is trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

TINY = 1e-24  # far below any variance of standardised values in double precision
WINDOW, ORDER = 11, 2  # of the Savitzky-Golay filter, in points; chemometrics' usual choice


class _Power(torch.autograd.Function):
    """Squared magnitude of the discrete Fourier transform of real values.

    PyTorch's exporter knows no Fourier transform, but ONNX does (``DFT``, since opset 17).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Map (B, C, ...) to its power; the last of ``axes`` keeps the frequencies >= 0 alone."""
        found: Tensor = torch.fft.rfftn(x, dim=axes).abs().square()
        return found

    @staticmethod
    def symbolic(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
        """Return the same as nodes of an ONNX graph, where complex values are a last axis of 2."""
        last = g.op("Constant", value_t=torch.tensor([-1]))
        found = g.op("DFT", g.op("Unsqueeze", x, last), axis_i=axes[-1], onesided_i=1)
        for axis in axes[:-1]:
            found = g.op("DFT", found, axis_i=axis)
        return g.op("ReduceSum", g.op("Mul", found, found), last, keepdims_i=0)


def power_spectrum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the periodogram of ``x`` (B, C, ...) along ``axes``, with a Hann window.

    Without the window, a slow trend would leak into all frequencies (Harris, Proceedings of the
    IEEE 66, 1978). The last axis keeps the frequencies from zero to the Nyquist frequency.
    """
    windowed = x - x.mean(axes, keepdim=True)
    n = 1
    for axis in axes:
        n *= int(x.shape[axis])
        shape = [-1 if axis == other else 1 for other in range(x.ndim)]
        window = torch.from_numpy(np.hanning(int(x.shape[axis]))).to(x)
        windowed = windowed * window.reshape(shape)
    if torch.onnx.is_in_onnx_export():
        found: Tensor = _Power.apply(windowed, axes)  # type: ignore[no-untyped-call]
    else:  # has gradients
        found = torch.fft.rfftn(windowed, dim=axes).abs().square()
    return found / n**2


def derivative(x: Tensor, order: int) -> Tensor:
    """Return the ``order``-th Savitzky-Golay derivative of ``x`` (..., L), per point.

    A parabola is fitted to ``WINDOW`` points, at the ends as in scipy's mode ``interp``. Signals
    shorter than that have no derivative here and come back as they are.
    """
    n = int(x.shape[-1])
    if n < WINDOW:
        return x
    half = WINDOW // 2
    ends = _filter(order).to(x)
    kernel = ends[:, half]  # of the middle of a window
    inner = torch.zeros_like(x[..., : n - 2 * half])
    for i in range(WINDOW):
        inner = inner + kernel[i] * x[..., i : n - 2 * half + i]
    first = x[..., :WINDOW] @ ends[:, :half]
    last = x[..., -WINDOW:] @ ends[:, half + 1 :]
    return torch.cat([first, inner, last], -1)


def _filter(order: int) -> Tensor:
    """Return the filter as a matrix: the values of a window times it are its derivatives.

    Column i holds the derivative, at point i, of the polynomial that fits the window best
    (Savitzky and Golay, Analytical Chemistry 36 (1964), 1627-1639).
    """
    places = np.arange(WINDOW) - WINDOW // 2
    fit = np.linalg.pinv(np.vander(places, ORDER + 1, increasing=True))  # values to coefficients
    powers = np.stack(
        [np.polynomial.Polynomial.basis(k).deriv(order)(places) for k in range(ORDER + 1)]
    )
    return torch.from_numpy(fit.T @ powers)


def standard_normal_variate(x: Tensor) -> Tensor:
    """Return ``x`` (..., L) less its mean, over its standard deviation (ddof 0).

    Of a flat signal, which has no such variate, zeros come back.
    """
    centred = x - x.mean(-1, keepdim=True)
    return centred / root(centred.square().mean(-1, keepdim=True))


def root(x: Tensor) -> Tensor:
    """Return the square root of ``x``, never quite zero: there it has no gradient."""
    return (x + TINY).sqrt()
