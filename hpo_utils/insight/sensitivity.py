"""What a network responds to: sensitive places of the input, and the channels it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo_utils.network.models import predict
from hpo_utils.network.with_views import WithViews

N_SAMPLES = 32  # averaging over more looks the same
N_SHUFFLES, SEED = 3, 0  # permutations of a channel among the samples
BATCH = 8  # maximum number of samples at a time
BATCH_VALUES = 2**20  # maximum number of input values at a time: autograd keeps all activations


def sensitivity(members: Iterable[nn.Module], x: Tensor) -> NDArray[np.float64]:
    """Return the mean absolute gradient of each target with respect to each place of the input.

    This is the saliency of Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks",
    2014, section 3, averaged over samples and ensemble members. Where it is high, a small change of
    the signal changes the prediction; it does not say in which direction.

    Parameters
    ----------
    members
        Networks that map (B, n_channels, ...) to (B, n_targets), both standardised.
    x
        Standardised inputs (n_samples, n_channels, H, W) or (n_samples, n_channels, L).

    Returns
    -------
    array of shape (n_targets, n_channels, H, W) or (n_targets, n_channels, L)
        In standard deviations of the target per standard deviation of the input at that place.
    """
    total, n_members = np.zeros(()), 0
    batch = max(1, min(BATCH, BATCH_VALUES // x[0].numel()))
    for member in members:
        was_training = member.training
        member.eval()
        total = total + sum(_of_batch(member, piece) for piece in torch.split(x, batch)) / len(x)
        member.train(was_training)
        n_members += 1
    return np.asarray(total / n_members)


def _of_batch(member: nn.Module, x: Tensor) -> NDArray[np.float64]:
    """Return the absolute gradients of each target, summed over the samples of a batch."""
    x = x.detach().clone().requires_grad_(True)
    z = member(x)  # (B, n_targets)
    gradients = [
        torch.autograd.grad(z[:, k].sum(), x, retain_graph=True)[0] for k in range(z.shape[1])
    ]  # each (B, n_channels, ...): a sample's output does not depend on the other samples
    return np.stack([np.asarray(g.abs().sum(0), dtype=np.float64) for g in gradients])


def channel_losses(
    members: Sequence[nn.Module], x: Tensor, z: Tensor, batch_size: int
) -> NDArray[np.float64]:
    """Return how much R² each target loses when a channel is permuted among the samples.

    This is the permutation importance of Breiman, "Random forests", Machine Learning 45 (2001),
    section 10, for the mean of the members. A channel whose loss is near zero for all targets can
    be left out, but not always together with other such channels: one may replace another.

    Parameters
    ----------
    members
        Networks that map (B, n_channels, ...) to (B, n_targets), both standardised.
    x, z
        Standardised inputs (n_samples, n_channels, ...) and targets (n_samples, n_targets), with
        NaN where a target was not measured.
    batch_size
        Samples to predict at a time.

    Returns
    -------
    array of shape (n_targets, n_channels)
        Mean over ``N_SHUFFLES`` permutations; NaN for a target that does not vary.
    """
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(len(x), generator=generator) for _ in range(N_SHUFFLES)]

    def errors(inputs: Tensor) -> NDArray[np.float64]:
        first = members[0]
        seen = None
        if isinstance(first, WithViews):  # all members see the same
            with torch.no_grad():
                seen = torch.cat([first.sight(each) for each in torch.split(inputs, batch_size)])
        mean = torch.stack([predict(each, inputs, batch_size, seen) for each in members]).mean(0)
        return np.asarray((mean - z).square().nanmean(0), dtype=np.float64)  # (n_targets,)

    whole = errors(x)
    lost = np.zeros((z.shape[1], x.shape[1]))
    for channel in range(x.shape[1]):
        for order in orders:
            dealt = x.clone()
            dealt[:, channel] = x[order, channel]
            lost[:, channel] += (errors(dealt) - whole) / N_SHUFFLES
    variance = np.asarray((z - z.nanmean(0)).square().nanmean(0), dtype=np.float64)[:, None]
    return np.divide(lost, variance, out=np.full_like(lost, np.nan), where=variance > 0)
