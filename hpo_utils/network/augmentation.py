"""Augmentation: random changes of the training samples, so that a network learns what to ignore.

Inputs are standardised, so sizes are in standard deviations of a channel. Draws come from PyTorch's
own random numbers, as those of dropout do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hpo_utils.base.config import Config

BANDWIDTH = 0.3  # of like targets, in standard deviations of each


@dataclass(frozen=True)
class Augmentation:
    """How far training samples are changed; the fields are those of the section ``augmentation``.

    Every sample and channel gets its own draw of ``gain``, ``offset`` and ``slope``. The axis of
    ``slope`` and ``shift`` is L for signals and H for images.
    """

    noise: float
    gain: float
    offset: float
    slope: float
    shift: float
    mixup: float

    @classmethod
    def of(cls, cfg: Config) -> Augmentation | None:
        """Return the augmentation that ``cfg`` asks for; None if it is none."""
        asked = cfg.augmentation
        found = cls(
            asked.noise, asked.gain, asked.offset, asked.slope, asked.shift, asked.mixup
        )  # fmt: skip
        return found if any(vars(found).values()) else None

    def changed(self, x: Tensor) -> Tensor:
        """Return changed copies of standardised inputs (B, n_channels, ...)."""
        if self.shift:
            x = _shifted(x, self.shift)
        one = x.new_empty(*x.shape[:2], *(1,) * (x.ndim - 2))  # a draw a sample and channel
        if self.gain:
            x = x * (1.0 + self.gain * torch.randn_like(one))
        if self.offset:
            x = x + self.offset * torch.randn_like(one)
        if self.slope:
            line = torch.linspace(-1.0, 1.0, x.shape[2], device=x.device, dtype=x.dtype)
            x = x + self.slope * torch.randn_like(one) * line.reshape(-1, *(1,) * (x.ndim - 3))
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return x

    def partners(self, z: Tensor, among: Tensor) -> Tensor:
        """Draw for each of ``z`` (B, n_targets) a row of ``among`` (n_samples, n_targets).

        Rows with like targets are likely: C-Mixup (Yao et al., NeurIPS 2022, eq. 6). A target that
        was not measured, NaN, counts as its mean.
        """
        distances = torch.cdist(z.nan_to_num(), among.nan_to_num()).square() / z.shape[1]
        return torch.multinomial(torch.exp(-distances / (2 * BANDWIDTH**2)), 1)[:, 0]

    def mixed(self, own: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return each of ``own`` mixed with its partner, by one share a sample, from Beta(a, a)."""
        alpha = own[0].new_tensor(self.mixup)
        share = torch.distributions.Beta(alpha, alpha).sample((len(own[0]),))
        shares = [share.reshape(-1, *(1,) * (each.ndim - 1)) for each in own]
        together = zip(shares, own, others, strict=True)
        return tuple(s * mine + (1.0 - s) * other for s, mine, other in together)


def _shifted(x: Tensor, most: float) -> Tensor:
    """Move each sample along axis 2 by up to ``most`` of its length; end values are repeated."""
    length = x.shape[2]
    steps = ((2.0 * torch.rand(len(x), 1, device=x.device) - 1.0) * most * length).round().long()
    places = (torch.arange(length, device=x.device) + steps).clamp(0, length - 1)
    index = places.reshape(len(x), 1, length, *(1,) * (x.ndim - 3))
    return x.gather(2, index.expand_as(x))
