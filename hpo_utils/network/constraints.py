"""The output layer that makes predictions obey the known physics of the targets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo_utils.data.physics import MIN_LEVEL, Physics

NEAREST = 0.05  # standard deviations of a target: the least distance from a bound to aim at


class PhysicalOutput(nn.Module):
    """Output layer that maps any outputs to standardised targets that obey the physics.

    Zero outputs give the training mean. There, the layer scales the effect of a small change of an
    output on its target by 1 - mean for a fraction, and by 1 - exp(-mean / std) for a non-negative
    target, so the network trains about as easily as without it. The layer has no parameters and is
    not part of a state dict.

    Parameters
    ----------
    physics
        The known physics of the targets.
    mean, std
        Mean and standard deviation of the targets in the training part, each (n_targets,).
    """

    fractions: Tensor
    non_negative: Tensor
    mean: Tensor
    std: Tensor
    share: Tensor
    rest: Tensor
    level: Tensor
    shift: Tensor

    def __init__(
        self, physics: Physics, mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> None:
        super().__init__()
        fractions = np.array(physics.fractions, dtype=np.int64)
        others = [k for k in physics.non_negative if k not in physics.fractions]
        non_negative = np.array(others, dtype=np.int64)
        share = np.maximum(mean[fractions], physics.min_mean)
        level = mean[non_negative] / std[non_negative]
        above_zero = np.maximum(level, MIN_LEVEL)
        constants = {
            "fractions": fractions, "mean": mean[fractions], "std": std[fractions], "share": share,
            # for a single fraction: the logarithm of the rest of the whole
            "rest": np.log(np.maximum(1.0 - share, physics.min_mean)),
            "non_negative": non_negative, "level": level,
            "shift": above_zero + np.log(-np.expm1(-above_zero)),  # inverse of softplus
        }  # fmt: skip
        for name, values in constants.items():
            kind = torch.int64 if values.dtype == np.int64 else torch.float32
            self.register_buffer(name, torch.tensor(values, dtype=kind), persistent=False)

    def inverse(self, z: Tensor) -> Tensor:
        """Return outputs (B, n_targets) that the layer maps to standardised targets ``z``.

        Targets at or beyond a bound, which no output reaches, count as ``NEAREST`` inside of it.
        """
        outputs = z.clone()
        if len(self.non_negative):
            y = (z.index_select(1, self.non_negative) + self.level).clamp(min=NEAREST)
            outputs = outputs.index_copy(
                1, self.non_negative, y + (-torch.expm1(-y)).log() - self.shift
            )
        if len(self.fractions):
            y = z.index_select(1, self.fractions) * self.std + self.mean
            nearest = torch.minimum(NEAREST * self.std, self.share / 2)
            logits = torch.maximum(y, nearest).log()
            if len(self.fractions) == 1:  # of the fraction and the unnamed rest
                logits = logits - torch.maximum(1.0 - y, nearest).log() + self.rest
            outputs = outputs.index_copy(
                1, self.fractions, (logits - self.share.log()) * self.share / self.std
            )
        return outputs

    def forward(self, outputs: Tensor) -> Tensor:
        """Map outputs (B, n_targets) to standardised targets (B, n_targets), in float32."""
        outputs = outputs.float()
        z = outputs
        if len(self.non_negative):
            # y = std * softplus(output + shift), shifted so that an output of zero gives the mean
            chosen = outputs.index_select(1, self.non_negative) + self.shift
            z = z.index_copy(1, self.non_negative, nn.functional.softplus(chosen) - self.level)
        if len(self.fractions):
            chosen = outputs.index_select(1, self.fractions)
            logits = self.share.log() + chosen * self.std / self.share
            if len(self.fractions) == 1:  # (B, 1) -> (B, 2): the fraction and the unnamed rest
                logits = torch.cat([logits, self.rest.expand(len(outputs), 1)], 1)
            shares = logits.softmax(1)[:, : len(self.fractions)]
            z = z.index_copy(1, self.fractions, (shares - self.mean) / self.std)
        return z
