"""What a network looks at: how far each place of the input moves each prediction."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

N_SAMPLES = 32  # an average over more looks the same
BATCH = 8  # samples at a time,
BATCH_VALUES = 2**20  # of so many values in all: the gradients keep what every layer gave


def sensitivity(members: Iterable[nn.Module], x: Tensor) -> NDArray[np.float64]:
    """Return the mean absolute gradient of each target with respect to each place of the input.

    It is the saliency of Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks", 2014,
    section 3, averaged over samples and over the members of an ensemble: where it is high, a small
    change of the signal changes the prediction. It does not say in which direction.

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


def channel_shares(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each channel's share of the sensitivity, (n_targets, n_channels), rows sum to 1."""
    per_channel = maps.reshape(*maps.shape[:2], -1).sum(axis=2)
    total = per_channel.sum(axis=1, keepdims=True)
    # a target that nothing moves is as far from every channel
    shares: NDArray[np.float64] = np.where(
        total > 0, per_channel / np.where(total > 0, total, 1), 1 / maps.shape[1]
    )
    return shares
