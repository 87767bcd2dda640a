"""A network that includes its scalers: raw arrays in, targets in their units out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.bundle.novelty import KnownRange
from hpo_utils.data.physics import Physics
from hpo_utils.data.prepared import PreparedData, input_scaler
from hpo_utils.scores.spread import Calibration


@dataclass(frozen=True)
class Layout:
    """Layout and scaling of a model's inputs and outputs.

    ``raw_shape`` is the shape of one sample as recorded, all channels included; the input scalers
    cover only the channels in use.
    """

    raw_shape: list[int]
    channels: list[int]
    channel_names: list[str]
    downsample_factor: int
    input_mean: list[float]
    input_std: list[float]
    target_names: list[str]
    target_units: list[str]
    target_mean: list[float]
    target_std: list[float]
    fractions: list[int]
    non_negative: list[int]
    known: KnownRange
    confidence: float
    calibration: Calibration | None  # of the members' spread; None with a single member


class RawModel(nn.Module):
    """The whole model of a bundle: raw inputs in, targets in their units out.

    It standardises in double precision, like the preparation of the data.
    """

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, layout: Layout, members: Sequence[nn.Module], physics: Physics) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.channels, self.factor = layout.channels, layout.downsample_factor
        self.single = len(layout.raw_shape) == 1  # (B, L), without a channel axis
        axes = (1, -1) + (1,) * max(len(layout.raw_shape) - 1, 1)
        for name in ("input_mean", "input_std"):
            values = torch.tensor(getattr(layout, name), dtype=torch.float64)
            self.register_buffer(name, values.reshape(axes))
        lowest, highest = physics.bounds(len(layout.target_names))
        for name, per_target in (
            ("target_mean", layout.target_mean),
            ("target_std", layout.target_std),
            ("lowest", lowest),
            ("highest", highest),
        ):
            self.register_buffer(name, torch.tensor(per_target, dtype=torch.float64))

    def standardize(self, x: Tensor) -> Tensor:
        """Map raw (B, *raw_shape) to the members' standardised inputs (B, n_channels, ...)."""
        x = x.unsqueeze(1) if self.single else x[:, self.channels]
        x = x[:, :, :: self.factor].to(torch.float64)
        return ((x - self.input_mean) / self.input_std).to(torch.float32)

    def combine(self, members: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map each member's standardised outputs (B, n_targets) to mean and spread in units."""
        z = torch.stack(members).to(torch.float64)  # (n_members, B, n_targets)
        y = (z * self.target_std + self.target_mean).clamp(self.lowest, self.highest)
        spread = y.std(0, correction=int(len(members) > 1))
        return y.mean(0).to(torch.float32), spread.to(torch.float32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map raw (B, *raw_shape) to the members' mean and spread in units, (B, n_targets) each."""
        z = self.standardize(x)
        return self.combine([member(z) for member in self.members])


def describe_layout(
    data: PreparedData, cfg: Config, confidence: float, intervals: dict[str, list[float]] | None
) -> Layout:
    """Return the layout of a model trained on ``data`` with configuration ``cfg``."""
    manifest, scaler = data.manifest, input_scaler(data.manifest)
    return Layout(
        raw_shape=manifest["sources"][0]["shape"][1:],
        channels=manifest["channels"],
        channel_names=manifest["channel_names"],
        downsample_factor=cfg.dataset.downsample_factor,
        input_mean=scaler.mean.tolist(),
        input_std=scaler.std.tolist(),
        target_names=data.target_names,
        target_units=data.target_units,
        target_mean=data.target_scaler.mean.tolist(),
        target_std=data.target_scaler.std.tolist(),
        fractions=list(data.physics.fractions),
        non_negative=list(data.physics.non_negative),
        known=KnownRange.of(data.inputs("train", cfg.dataset.downsample_factor)),
        confidence=confidence,
        calibration=None if intervals is None else Calibration(**intervals),
    )
