"""Convolutions of signals and images that go around faults and slow ways of oneDNN on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hpo_utils.network.winograd import OUTPUTS, n_tiles, winograd_convolution

REGISTER_CHANNELS = 16  # float32 values in the widest register of a CPU (AVX-512)
FILTERED_CHANNELS, FILTERED_TILES = 64, 64  # from which on Winograd's way pays
MULTIPLIED_WEIGHTS = 2**15  # from which on a matrix product pays
PATCH_VALUES = 2**20  # of the patches that are laid out at a time: 4 MB, which caches hold


class Conv1d(nn.Conv1d):
    """A convolution with odd kernel, padded by its half, that is right and fast on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, L) to (B, n_out, ceil(L / stride))."""
        return convolve(self, x, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """A convolution with odd kernels, padded by their half, that is right and fast on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, H, W) to (B, n_out, ceil(H / stride), ceil(W / stride))."""
        return convolve(self, x, self.weight, self.bias)


def convolve(conv: nn.Conv1d | nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what ``conv`` would give of ``x`` if it had this weight and bias."""
    x, stride = _strided(conv, x)
    padding = [int(n) for n in conv.padding]
    if bias is None and _winograd_pays(conv, x):
        return winograd_convolution(x, weight)
    if bias is None and _product_pays(conv, x):
        out: Tensor = _Convolution.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return out
    library = functional.conv1d if x.ndim == 3 else functional.conv2d
    return library(x, weight, bias, stride, padding)


def _strided(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> tuple[Tensor, list[int]]:
    """Return an input and the strides that give what ``conv`` gives on ``x``.

    Around two faults of oneDNN (PyTorch 2.13 on CPUs) in the gradient of the weights of a strided
    convolution. With kernels of one, channels last and fewer channels than a register holds it
    writes beyond its memory; here such kernels stride by leaving out. On axes of length one and in
    bfloat16 it leaves values unwritten, NaN if that was in the memory; here no stride is taken
    along these, which makes no difference.
    """
    axes_of_one = 1 in x.shape[2:]
    if max(conv.kernel_size) == 1 and (axes_of_one or conv.in_channels < REGISTER_CHANNELS):
        for axis, step in enumerate(conv.stride, start=2):
            x = x[(slice(None),) * axis + (slice(None, None, step),)]
        return x, [1] * (x.ndim - 2)
    return x, [1 if n == 1 else step for n, step in zip(x.shape[2:], conv.stride, strict=True)]


def _winograd_pays(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> bool:
    """Return whether ``winograd_convolution`` gives the same in less time.

    It saves multiplications, and pays with additions for each tile and for each kernel: it needs
    channels for the former and tiles for the latter, and tiles that are filled.
    """
    return (
        _trains_on_avx2(conv, x)
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and min(conv.in_channels, conv.out_channels) >= FILTERED_CHANNELS
        and n_tiles(x) >= FILTERED_TILES
        and n_tiles(x) * OUTPUTS**2 <= 1.25 * x[:, 0].numel()
    )


def _product_pays(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> bool:
    """Return whether the weights' gradient is best taken as a product of matrices.

    oneDNN 3.12 takes this gradient of images with AVX2 at half the speed of its convolutions, and
    PyTorch 2.13 lays the result out anew, twice, which for weights of 512 x 512 x 3 x 3 takes five
    times as long as the product. The way there costs a tenth of a millisecond.
    """
    return _trains_on_avx2(conv, x) and conv.weight.numel() >= MULTIPLIED_WEIGHTS


def _trains_on_avx2(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> bool:
    """Return whether images train in float32 on the kind of CPU where our ways were measured."""
    return (
        conv.training
        and x.ndim == 4
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


class _Convolution(torch.autograd.Function):
    """A convolution whose gradient of the weights is ``weight_gradient``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: list[int], padding: list[int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.convolution(
            x, weight, None, stride, padding, [1] * len(stride), False, [0] * len(stride), 1
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        ones, zeros = [1] * len(ctx.stride), [0] * len(ctx.stride)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.convolution_backward(
                grad, x, weight, None, ctx.stride, ctx.padding, ones, False, zeros, 1,
                [True, False, False],
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(x, grad, weight.shape[2:], ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def weight_gradient(
    x: Tensor, grad: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Return the gradient of a convolution's weights as a product of matrices.

    Each place of the output saw one patch of the input; the gradient is the sum over places of the
    output's gradient times the patch. The patches are laid out as the rows of a matrix, a few
    samples at a time (Chellapilla, Puri and Simard, IWFHR 2006, "High Performance Convolutional
    Neural Networks for Document Processing").

    Parameters
    ----------
    x
        Inputs (B, n_in, L) or (B, n_in, H, W).
    grad
        Gradient of the outputs, (B, n_out, L_out) or (B, n_out, H_out, W_out).
    kernel, stride, padding
        One value for each axis.

    Returns
    -------
    Tensor
        Of shape (n_out, n_in, *kernel), channels last.
    """
    n_out, n_in = grad.shape[1], x.shape[1]
    n_places, n_values = grad[0, 0].numel(), n_in * int(torch.Size(kernel).numel())
    total = x.new_empty(n_out, n_values)
    step = max(1, PATCH_VALUES // (n_places * n_values))
    beta = 0.0  # the first block overwrites memory that holds nothing yet
    for some_x, some_grad in zip(torch.split(x, step), torch.split(grad, step), strict=True):
        rows = some_grad.movedim(1, -1).reshape(-1, n_out)  # (places, n_out)
        patches = _patches(some_x, kernel, stride, padding).reshape(-1, n_values)
        total.addmm_(rows.T, patches, beta=beta)
        beta = 1.0
    return total.view(n_out, *kernel, n_in).movedim(-1, 1)


def _patches(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Return what each place of the output sees, (B, *places, *kernel, n_in), as a view."""
    around = [n for pad in reversed(padding) for n in (pad, pad)]
    x = functional.pad(x.movedim(1, -1), [0, 0, *around])  # (B, H + 2 pad, W + 2 pad, n_in)
    batch, *steps, channel = x.stride()
    n_places = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], kernel, stride, strict=True)]
    strides = [step * s for step, s in zip(steps, stride, strict=True)]
    return x.as_strided(
        [len(x), *n_places, *kernel, x.shape[-1]], [batch, *strides, *steps, channel]
    )
