"""3 x 3 convolutions of images with a quarter of the multiplications, and their gradients.

Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray, CVPR 2016, "Fast Algorithms for
Convolutional Neural Networks"): a tile of 6 x 6 inputs and a kernel are evaluated as polynomials at
36 points and multiplied point by point, which gives 4 x 4 outputs. Over channels and tiles that is
one product of matrices for each point. Evaluated tiles are (36, n_tiles, n_channels).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

OUTPUTS, KERNEL = 4, 3  # on each axis of a tile
TILE = OUTPUTS + KERNEL - 1
# On each axis, beside infinity. Of the sets tried these lose least to rounding: 7e-7 to 1e-6 of the
# values' spread (root mean square), half of what the usual 0, 1, -1, 2, -2 lose. A plain float32
# convolution loses 3e-7, its gradients 2e-7 and 1e-6.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
BLOCK_TILES = 128  # transformed at a time: few enough for caches, enough for products of matrices


def winograd_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve images with 3 x 3 kernels, stride 1, padding 1.

    Parameters
    ----------
    x
        Images (B, n_in, H, W), float32, on a CPU.
    weight
        Kernels (n_out, n_in, 3, 3).

    Returns
    -------
    Tensor
        Of shape (B, n_out, H, W), channels last.
    """
    out: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    return out


def n_tiles(x: Tensor) -> int:
    """Return how many tiles images (B, C, H, W) have."""
    n_rows, n_columns = _grid(x)
    return len(x) * n_rows * n_columns


class _Winograd(torch.autograd.Function):
    """Keeps the evaluated tiles, of which the weights' gradient is a product of matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        inputs: list[Tensor] | None = [] if ctx.needs_input_grad[1] else None
        out = _convolve(x, _kernels(weight, _transforms()[1]).mT, inputs)
        ctx.save_for_backward(weight, *(inputs or []))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weight, *inputs = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:  # a convolution with the kernels turned around
            of_x = _convolve(grad, _kernels(weight, _transforms()[1].flip(1)))
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(grad, inputs)
        return of_x, of_weight


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Return what transforms a tile (36, 36), a kernel (36, 9), and products into outputs (16, 36).

    Each row has the powers of one point; the last is that of infinity, which reads the highest
    coefficient. A product of polynomials is evaluate, multiply, interpolate; what a convolution
    needs is its transpose (Lavin and Gray, section 4).
    """

    def powers(n_coefficients: int) -> Tensor:
        rows = torch.tensor(POINTS, dtype=torch.float64)[:, None] ** torch.arange(n_coefficients)
        return torch.cat([rows, torch.eye(n_coefficients, dtype=torch.float64)[-1:]])

    one_axis = torch.linalg.inv(powers(TILE)).T, powers(KERNEL), powers(OUTPUTS).T
    of_tile, of_kernel, of_products = (torch.kron(each, each).float() for each in one_axis)
    return of_tile, of_kernel, of_products


def _kernels(weight: Tensor, of_kernel: Tensor) -> Tensor:
    """Return kernels (n_out, n_in, 3, 3) evaluated by ``of_kernel``, (36, n_out, n_in)."""
    flat = weight.permute(2, 3, 0, 1).reshape(KERNEL * KERNEL, -1)  # (9, n_out * n_in)
    return torch.mm(of_kernel, flat).view(-1, *weight.shape[:2])


def _convolve(x: Tensor, kernels: Tensor, kept: list[Tensor] | None = None) -> Tensor:
    """Return (B, n_out, H, W) of evaluated kernels (36, n_in, n_out).

    The evaluated tiles are appended to ``kept``, block by block.
    """
    of_tile, _, of_products = _transforms()
    (n, n_in, height, width), n_out = x.shape, kernels.shape[2]
    tiles = _tiles(x)  # (6, 6, B, n_rows, n_columns, n_in)
    out = x.new_empty(n, tiles.shape[3], OUTPUTS, tiles.shape[4], OUTPUTS, n_out)
    pieces = out.permute(2, 4, 0, 1, 3, 5)  # (4, 4, B, n_rows, n_columns, n_out)
    for samples, rows in _blocks(*tiles.shape[2:5]):
        values = torch.mm(of_tile, tiles[:, :, samples, rows].reshape(TILE * TILE, -1))
        values = values.view(TILE * TILE, -1, n_in)
        if kept is not None:
            kept.append(values)
        products = torch.bmm(values, kernels).view(TILE * TILE, -1)
        piece = pieces[:, :, samples, rows]
        piece.copy_(torch.mm(of_products, products).view(piece.shape))
    out = out.view(n, OUTPUTS * tiles.shape[3], OUTPUTS * tiles.shape[4], n_out)
    out = out[:, :height, :width].movedim(-1, 1)
    return out.contiguous(memory_format=torch.channels_last)


def _weight_gradient(grad: Tensor, kept: list[Tensor]) -> Tensor:
    """Return the gradient (n_out, n_in, 3, 3) of the outputs' (B, n_out, H, W) and the kept tiles.

    It goes through the same points: the transposes of what makes outputs and evaluates kernels.
    """
    _, of_kernel, of_products = _transforms()
    n_out, n_in = grad.shape[1], kept[0].shape[2]
    pieces = _pieces(grad)
    total = grad.new_empty(TILE * TILE, n_out, n_in)
    beta = 0.0  # the first block overwrites memory that holds nothing yet
    for (samples, rows), values in zip(_blocks(*pieces.shape[2:5]), kept, strict=True):
        products = pieces[:, :, samples, rows].reshape(OUTPUTS * OUTPUTS, -1)
        products = torch.mm(of_products.T, products)  # (36, n_tiles * n_out)
        total.baddbmm_(products.view(TILE * TILE, -1, n_out).mT, values, beta=beta)
        beta = 1.0
    flat = torch.mm(of_kernel.T, total.view(TILE * TILE, -1))  # (9, n_out * n_in)
    return flat.view(KERNEL, KERNEL, n_out, n_in).permute(2, 3, 0, 1)


def _tiles(x: Tensor) -> Tensor:
    """Return the overlapping tiles of (B, C, H, W), (6, 6, B, n_rows, n_columns, C), as a view."""
    n_rows, n_columns = _grid(x)
    bottom, right = OUTPUTS * n_rows + 1 - x.shape[2], OUTPUTS * n_columns + 1 - x.shape[3]
    x = functional.pad(x.movedim(1, -1), [0, 0, 1, right, 1, bottom])
    sample, row, column, channel = x.stride()
    strides = [row, column, sample, OUTPUTS * row, OUTPUTS * column, channel]
    return x.as_strided([TILE, TILE, len(x), n_rows, n_columns, x.shape[-1]], strides)


def _pieces(x: Tensor) -> Tensor:
    """Return the pieces that (B, C, H, W) consists of, (4, 4, B, n_rows, n_columns, C)."""
    n_rows, n_columns = _grid(x)
    bottom, right = OUTPUTS * n_rows - x.shape[2], OUTPUTS * n_columns - x.shape[3]
    x = x.movedim(1, -1)
    if bottom or right:
        x = functional.pad(x, [0, 0, 0, right, 0, bottom])
    x = x.reshape(len(x), n_rows, OUTPUTS, n_columns, OUTPUTS, -1)
    return x.permute(2, 4, 0, 1, 3, 5)


def _grid(x: Tensor) -> tuple[int, int]:
    return -(-x.shape[2] // OUTPUTS), -(-x.shape[3] // OUTPUTS)


def _blocks(n: int, n_rows: int, n_columns: int) -> Iterator[tuple[slice, slice]]:
    """Cut (B, n_rows, n_columns) tiles into whole samples, or rows of one sample."""
    samples = max(1, BLOCK_TILES // (n_rows * n_columns))
    rows = min(n_rows, max(1, BLOCK_TILES // n_columns))
    for sample, row in product(range(0, n, samples), range(0, n_rows, rows)):
        yield slice(sample, sample + samples), slice(row, row + rows)
