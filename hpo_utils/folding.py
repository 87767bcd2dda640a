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

import torch
from torch import Tensor, nn

from hpo_utils.convolutions import Conv1d, Conv2d, convolve, patches

FEWEST_OUTPUTS = 2**19  # of the convolution in a step, from which on folding pays
MOST_MOMENTS = 2**26  # bytes
BLOCK_VALUES = 2**18  # of the patches that are laid out at a time: 2 MB in double precision


class Folding(nn.Sequential):
    """Layers that begin with a convolution of the network's inputs and its batch normalisation."""

    def forward(self, x: Tensor, moments: Tensor | None = None) -> Tensor:
        """Map (B, n_channels, ...) to what the last layer gives.

        ``moments`` are those of the batch, the sum of ``patch_moments`` over its samples; without
        them batch normalisation measures for itself.
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
    rows = weight.movedim(1, -1).flatten(1).double()  # (n_out, n_values), channels last
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
    share = float(norm.momentum or 0.0)
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.lerp_(now.to(running.dtype), share)  # type: ignore[union-attr]
    norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]


def patch_moments(x: Tensor, conv: Conv1d | Conv2d) -> Tensor:
    """Return the moments of what a convolution sees of each sample, zeros of the padding included.

    Parameters
    ----------
    x
        Samples (n_samples, n_channels, L) or (n_samples, n_channels, H, W), on a CPU.
    conv
        The convolution.

    Returns
    -------
    Tensor
        Of shape (n_samples, n_values + 1, n_values + 1) and float64, with n_values of a patch: the
        sums over all places of products of two values; in the last row those of the values, and the
        number of places. The last column but for that number is zero.
    """
    n_values = _count_values(conv)
    found = torch.zeros(len(x), n_values + 1, n_values + 1, dtype=torch.float64)
    stride, padding = [int(n) for n in conv.stride], [int(n) for n in conv.padding]
    for sample, moments in zip(torch.split(x, 1), found, strict=True):
        seen = patches(sample.double(), conv.kernel_size, stride, padding)[0]
        step = max(1, BLOCK_VALUES // seen[0].numel())
        for block in torch.split(seen, step):  # (some rows or places, ..., *kernel, n_channels)
            rows = block.reshape(-1, n_values)
            moments[:-1, :-1].addmm_(rows.T, rows)
            moments[-1, :-1] += rows.sum(0)
            moments[-1, -1] += len(rows)
    return found


def folding_pays(x: Tensor, conv: Conv1d | Conv2d, batch_size: int, precision: torch.dtype) -> bool:
    """Return whether to take the moments of samples ``x`` for trainings with such batches.

    Not for small steps, to which the few operations more are more than a pass over the outputs; not
    where the moments need much memory; and not where it was not measured, in bfloat16 and on GPUs.
    """
    places = [-(-n // int(step)) for n, step in zip(x.shape[2:], conv.stride, strict=True)]
    n_outputs = batch_size * conv.out_channels * math.prod(places)
    n_bytes = len(x) * (_count_values(conv) + 1) ** 2 * torch.float64.itemsize
    return (
        n_outputs >= FEWEST_OUTPUTS
        and n_bytes <= MOST_MOMENTS
        and conv.weight.device.type == "cpu"  # inputs may stay there though a GPU trains
        and precision == torch.float32
    )


def _count_values(conv: Conv1d | Conv2d) -> int:
    """Return how many values of the inputs make one of the outputs."""
    return conv.weight[0].numel()
