"""The whole model of a bundle, scalers included: raw arrays in, targets in their units out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.baselines.fitted import BaselineModels
from hpo_utils.bundle.novelty import KnownRange
from hpo_utils.data.physics import MIN_MEAN, Physics
from hpo_utils.data.prepared import PreparedData, input_scaler
from hpo_utils.data.scaling import MEAN
from hpo_utils.network.with_views import WithViews
from hpo_utils.scores.skill import NETWORK
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
    calibration: Calibration | None  # of the members' spread; None before version 6 with one
    # of each model in each target, (n_targets,) each; without any, all is the network's
    shares: Mapping[str, list[float]] = field(default_factory=dict)
    thinning: str = "pick"  # ``dataset.thinning``, before version 6 always this

    @property
    def has_network(self) -> bool:
        """Whether networks are among the models."""
        return not self.shares or NETWORK in self.shares


class AllModels(nn.Module):
    """The networks and the baselines side by side, from the same standardised inputs."""

    def __init__(
        self, members: Sequence[nn.Module], baselines: BaselineModels | None, layout: Layout
    ) -> None:
        super().__init__()
        self.members, self.baselines = nn.ModuleList(members), baselines
        self.factor, self.averaged = layout.downsample_factor, layout.thinning == MEAN

    def thinned(self, x: Tensor) -> Tensor:
        """Return what the networks take of inputs (B, n_channels, L) or (B, n_channels, H, W)."""
        if self.factor == 1 or not self.averaged:
            return x[:, :, :: self.factor]
        starts = range(0, int(x.shape[2]), self.factor)
        return torch.stack([x[:, :, i : i + self.factor].mean(2) for i in starts], 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, ...) to (B, n_models, n_targets), standardised, networks first."""
        thinned = self.thinned(x)
        seen: tuple[Tensor, ...] = ()
        first = next(iter(self.members), None)
        if isinstance(first, WithViews):  # all members see the same
            seen = (first.sight(thinned),)
        found = [member(thinned, *seen).to(torch.float64) for member in self.members]
        if self.baselines is not None:
            found += self.baselines(x)
        return torch.stack(found, 1)


class RawModel(nn.Module):
    """The whole model of a bundle: raw inputs in, targets in their units out.

    It standardises in double precision, like the preparation of the data. Beside networks there may
    be baselines, each with a share in each target.
    """

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor
    lowest: Tensor
    highest: Tensor
    shares: Tensor

    def __init__(
        self,
        layout: Layout,
        members: Sequence[nn.Module],
        physics: Physics,
        baselines: BaselineModels | None = None,
    ) -> None:
        super().__init__()
        self.models = AllModels(members, baselines, layout)
        self.channels = layout.channels
        n_targets = len(layout.target_names)
        names = [NETWORK] * bool(members) + ([] if baselines is None else baselines.names)
        shares = [layout.shares.get(name, [1.0] * n_targets) for name in names]
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float64))
        self.fractions = list(physics.fractions) if baselines is not None else []
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

    @property
    def members(self) -> nn.ModuleList:
        """The networks."""
        return self.models.members

    def standardize(self, x: Tensor) -> Tensor:
        """Map raw (B, *raw_shape) to the models' standardised inputs (B, n_channels, ...)."""
        x = (x.unsqueeze(1) if self.single else x[:, self.channels]).to(torch.float64)
        return ((x - self.input_mean) / self.input_std).to(torch.float32)

    def combine(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map what all models give (B, n_models, n_targets) to mean and spread in units.

        Each network is joined with the same baselines; the spread is that of the networks.
        """
        n_networks = len(self.members)
        y = (z * self.target_std + self.target_mean).clamp(self.lowest, self.highest)
        networks, others = y[:, :n_networks], y[:, n_networks:]
        if self.models.baselines is not None:
            joined = (others * self.shares[-int(others.shape[1]) :]).sum(1, keepdim=True)
            networks = joined if n_networks == 0 else self.shares[0] * networks + joined
            if len(self.fractions) > 1:
                whole = networks[:, :, self.fractions].sum(2, keepdim=True).clamp(min=MIN_MEAN)
                parts = [
                    networks[:, :, k : k + 1] / (whole if k in self.fractions else 1.0)
                    for k in range(networks.shape[2])
                ]
                networks = torch.cat(parts, 2)
        spread = networks.std(1, correction=int(n_networks > 1))
        return networks.mean(1).to(torch.float32), spread.to(torch.float32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map raw (B, *raw_shape) to mean and spread in units, (B, n_targets) each."""
        return self.combine(self.models(self.standardize(x)))


def describe_layout(
    data: PreparedData,
    cfg: Config,
    confidence: float,
    intervals: dict[str, Any] | None,
    shares: Mapping[str, list[float]] | None = None,
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
        known=KnownRange.of(
            data.inputs(
                "train", cfg.dataset.downsample_factor, averaged=cfg.dataset.thinning == MEAN
            )
        ),
        confidence=confidence,
        calibration=None if intervals is None else Calibration(**intervals),
        shares=dict(shares or {}),
        thinning=cfg.dataset.thinning,
    )
