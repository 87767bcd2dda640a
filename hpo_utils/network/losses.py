"""Loss functions for training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config


class WeightedMSELoss(nn.Module):
    """Mean squared error with one weight per target.

    The squared error of target ``k`` is multiplied by ``weights[k]`` before the mean over all
    samples and targets; weights of one give the plain mean squared error.

    Parameters
    ----------
    weights
        One non-negative weight per target, not all zero.

    Raises
    ------
    ValueError
        If there is no weight, one is negative, or all are zero.

    Examples
    --------
    >>> criterion = WeightedMSELoss(weights=[5.0, 1.0])
    >>> criterion(torch.zeros(1, 2), torch.ones(1, 2)).item()
    3.0
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        if not weights or min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                f"weights must be non-negative and not all zero, one per target, got {weights}"
            )
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of two tensors of shape (n_samples, n_targets)."""
        return (self.weights * (prediction - target) ** 2).mean()


class PartlyMeasuredMSELoss(WeightedMSELoss):
    """``WeightedMSELoss`` over the values that were measured; the others are NaN in the target.

    The mean is taken over the measured values of all samples and targets. Where nothing was
    measured, the loss is zero.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of two tensors of shape (n_samples, n_targets)."""
        known = ~target.isnan()
        error = torch.where(known, prediction - target, torch.zeros_like(prediction))
        return (self.weights * error**2).sum() / known.sum().clamp(min=1)


def create_criterion(cfg: Config, n_targets: int) -> nn.Module:
    """Return the squared error that the configuration asks for: weighted, of partly measured."""
    weights = [1.0] * n_targets
    if cfg.training.use_weighted_loss:
        weights = [float(getattr(cfg.training, f"weight_target_{k}")) for k in range(n_targets)]
    if cfg.dataset.partly_measured:
        return PartlyMeasuredMSELoss(weights)
    return WeightedMSELoss(weights) if cfg.training.use_weighted_loss else nn.MSELoss()
