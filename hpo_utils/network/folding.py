"""The first batch normalisation, folded into the convolution before it while training.

The output of the first convolution is the largest tensor of a step, and to normalise it takes
several passes over it, forward and backward. But its inputs are known before the training begins:
with patches p, weights w and their mean and covariance over all places of a batch, the outputs w·p
have mean w·E[p] and variance w·Cov[p]·w. So the moments of each sample's patches, taken once and
summed over a batch, give what batch normalisation would measure, and its scale and shift become
weights and bias of the convolution. The derivatives go through the same few numbers. It is the same
function, with less rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpo_utils.network.convolutions import Conv1d, Conv2d, convolve

MIN_OUTPUTS = 2**19  # of the convolution in a step, from which on folding pays
MAX_MOMENTS = 2**26  # bytes
BLOCK_VALUES = 2**18  # of the patches that are laid out at a time: 2 MB in float64


class Folding(nn.Sequential):
    """Layers that begin with a convolution of the network's inputs and its batch normalisation."""

    def forward(self, x: Tensor, moments: Tensor | None = None) -> Tensor:
        """Map (B, n_channels, ...) to what the last layer gives.

        ``moments`` are those of the batch, in training: the sum of ``patch_moments`` over its
        samples. Without them batch normalisation measures for itself.
        """
        if moments is None:
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out
        conv, norm, *others = self
        x = convolve(conv, x, *fold(conv.weight, norm, moments))  # type: ignore[arg-type]
        for layer in others:
            x = layer(x)
        return x


def fold(
    weight: Tensor, norm: nn.BatchNorm1d | nn.BatchNorm2d, moments: Tensor
) -> tuple[Tensor, Tensor]:
    """Return weights and bias that convolve and normalise at once; update the running statistics.

    In double precision: where a filter leaves little of smooth signals, its variance is the small
    difference of large numbers.

    Parameters
    ----------
    weight
        Of the convolution without bias, (n_out, n_in, *kernel).
    norm
        Batch normalisation of its outputs, in training.
    moments
        Of the batch, as in ``patch_moments``.

    Returns
    -------
    tuple
        Weights of the same shape and dtype, bias (n_out,).
    """
    n = moments[-1, -1]
    center = moments[-1, :-1] / n  # (n_values,)
    covariance = moments[:-1, :-1] / n - torch.outer(center, center)
    rows = weight.flatten(1).double()  # (n_out, n_values)
    mean = rows @ center
    variance = ((rows @ covariance) * rows).sum(1).clamp(min=0.0)
    _follow(norm, mean, variance * n / (n - 1))
    scale = norm.weight * (variance + norm.eps).rsqrt()  # (n_out,)
    bias = norm.bias - scale * mean
    scaled = weight * scale.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))
    return scaled, bias.to(weight.dtype)


@torch.no_grad()
def _follow(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Have the running statistics take a step towards those of a batch, as PyTorch's do."""
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.lerp_(now.to(running.dtype), norm.momentum)  # type: ignore[union-attr,arg-type]
    norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class Moments:
    """The moments of a part's samples, each taken when it is first in a batch.

    Parameters
    ----------
    n_samples
        Of the part.
    conv
        What sees the patches.
    """

    def __init__(self, n_samples: int, conv: Conv1d | Conv2d) -> None:
        self._conv = conv
        n_values = _count_values(conv)
        self._taken = torch.zeros(n_samples, n_values + 1, n_values + 1, dtype=torch.float64)

    def of_batch(self, index: Tensor, x: Tensor) -> Tensor:
        """Return the sum of ``patch_moments`` over the samples ``x`` with the numbers ``index``."""
        new = self._taken[index, -1, -1] == 0  # no place counted yet
        if new.any():
            self._taken[index[new]] = patch_moments(x[new], self._conv)
        return self._taken[index].sum(0)


def create_moments(
    x: Tensor, conv: Conv1d | Conv2d, batch_size: int, precision: torch.dtype
) -> Moments | None:
    """Return moments for the samples ``x`` of a training; None where folding does not pay.

    It does not where the convolution strides, which leaves few outputs of many inputs; in small
    steps, to which the few operations more are more than a pass over the outputs; where the moments
    need much memory. It was not measured in bfloat16 and on GPUs.
    """
    n_outputs = batch_size * conv.out_channels * math.prod(x.shape[2:])
    n_bytes = len(x) * (_count_values(conv) + 1) ** 2 * torch.float64.itemsize
    pays = (
        max(conv.stride) == 1
        and n_outputs >= MIN_OUTPUTS
        and n_bytes <= MAX_MOMENTS
        and conv.weight.device.type == "cpu"  # inputs may stay there though a GPU trains
        and precision == torch.float32
    )
    return Moments(len(x), conv) if pays else None


def patch_moments(x: Tensor, conv: Conv1d | Conv2d) -> Tensor:
    """Return the moments of what a convolution sees of each sample, zeros of the padding included.

    Parameters
    ----------
    x
        Samples (n_samples, n_channels, L) or (n_samples, n_channels, H, W), on a CPU.
    conv
        The convolution, without stride.

    Returns
    -------
    Tensor
        Of shape (n_samples, n_values + 1, n_values + 1) and float64, with n_values of a patch: the
        sums over all places of products of two values; in the last row those of the values, and the
        number of places. The last column but for that number is zero.
    """
    n_values = _count_values(conv)
    found = torch.zeros(len(x), n_values + 1, n_values + 1, dtype=torch.float64)
    padded = functional.pad(x, [each for pad in _sizes(conv.padding)[::-1] for each in (pad, pad)])
    if x.ndim == 3:  # a signal is an image of one row
        padded = padded.unsqueeze(2)
    height, width = [1, *_sizes(conv.kernel_size)][-2:]
    n_rows = padded.shape[2] - height + 1
    step = max(1, BLOCK_VALUES // (n_values * padded.shape[3]))
    for sample, moments in zip(padded, found, strict=True):
        for row in range(0, n_rows, step):
            block = sample[:, row : row + step + height - 1].double().contiguous()
            views = block.unfold(1, height, 1).unfold(2, width, 1)  # (n_channels, H, W, *kernel)
            values = views.permute(0, 3, 4, 1, 2).reshape(n_values, -1)  # (n_values, n_places)
            moments[:-1, :-1].addmm_(values, values.T)
            moments[-1, :-1] += values.sum(1)
            moments[-1, -1] += values.shape[1]
    return found


def _sizes(of_axes: Sequence[int | str]) -> list[int]:
    return [int(each) for each in of_axes]


def _count_values(conv: Conv1d | Conv2d) -> int:
    """Return how many values of the inputs make one of the outputs."""
    return conv.weight[0].numel()
