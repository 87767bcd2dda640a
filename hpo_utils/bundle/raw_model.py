"""The whole model of a bundle, scalers included: raw arrays in, targets in their units out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hpo_utils.baselines.domain import Domain
from hpo_utils.baselines.fitted import BaselineModels
from hpo_utils.baselines.views import LINEAR, TREE, views
from hpo_utils.bundle.layout import Layout
from hpo_utils.data.physics import MIN_MEAN, Physics
from hpo_utils.data.scaling import MEAN
from hpo_utils.network.with_views import WithViews
from hpo_utils.scores.skill import NETWORK


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
        seen, of_x = list[Tensor](), dict[str, Tensor]()
        first = next(iter(self.members), None)
        if isinstance(first, WithViews):  # all members see the same
            linear, tree = views(thinned, LINEAR, TREE)
            seen = [first.sight.of_views(linear, tree)]
            if self.factor == 1:  # and so do the baselines
                of_x = {LINEAR: linear, TREE: tree}
        found = [member(thinned, *seen).to(torch.float64) for member in self.members]
        if self.baselines is not None:
            found += self.baselines(x, of_x)
        return torch.stack(found, 1)


class RawModel(nn.Module):
    """The whole model of a bundle: raw inputs in, targets in their units out.

    It standardises in double precision, like the preparation of the data. Beside networks there may
    be baselines, each with a share in each target. ``domain`` says how far inputs lie from those of
    the training part; None in bundles before version 7.
    """

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor
    lowest: Tensor
    highest: Tensor
    slope: Tensor
    offset: Tensor
    shares: Tensor

    def __init__(
        self,
        layout: Layout,
        members: Sequence[nn.Module],
        physics: Physics,
        baselines: BaselineModels | None = None,
        domain: Domain | None = None,
    ) -> None:
        super().__init__()
        self.models, self.domain = AllModels(members, baselines, layout), domain
        self.channels, self.codes = layout.channels, layout.codes
        n_targets = len(layout.target_names)
        names = [NETWORK] * bool(members) + ([] if baselines is None else baselines.names)
        shares = [layout.shares.get(name, [1.0] * n_targets) for name in names]
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float64))
        self.fractions, self.logarithmic = list(physics.fractions), layout.logarithmic
        self.corrected = bool(layout.correction)
        slope, offset = layout.correction or ([1.0] * n_targets, [0.0] * n_targets)
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
            ("slope", slope),
            ("offset", offset),
        ):
            self.register_buffer(name, torch.tensor(per_target, dtype=torch.float64))

    @property
    def members(self) -> nn.ModuleList:
        """The networks."""
        return self.models.members

    def standardize(self, x: Tensor) -> Tensor:
        """Map raw (B, *raw_shape) to the models' standardised inputs (B, n_channels, ...)."""
        x = (x.unsqueeze(1) if self.single else x[:, self.channels]).to(torch.float64)
        z = (x - self.input_mean) / self.input_std
        for code in self.codes:  # the channel's mean takes the place of what was not measured
            rounded = float(torch.tensor(code, dtype=torch.float32))
            missing = x.isnan() if math.isnan(code) else (x == code) | (x == rounded)
            z = torch.where(missing, torch.zeros_like(z), z)
        return z.to(torch.float32)

    def combine(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map what all models give (B, n_models, n_targets) to mean and spread in units.

        Each network is joined with the same baselines; the spread is that of the networks.
        """
        n_networks = len(self.members)
        y = z * self.target_std + self.target_mean
        if self.logarithmic:
            parts = [
                y[:, :, k : k + 1].exp() if k in self.logarithmic else y[:, :, k : k + 1]
                for k in range(y.shape[2])
            ]
            y = torch.cat(parts, 2)
        y = y.clamp(self.lowest, self.highest)
        networks, others = y[:, :n_networks], y[:, n_networks:]
        if self.models.baselines is not None:
            joined = (others * self.shares[-int(others.shape[1]) :]).sum(1, keepdim=True)
            networks = joined if n_networks == 0 else self.shares[0] * networks + joined
        if self.corrected:
            networks = (networks * self.slope + self.offset).clamp(self.lowest, self.highest)
        mixes = self.corrected or self.models.baselines is not None
        if mixes and len(self.fractions) > 1:
            whole = networks[:, :, self.fractions].sum(2, keepdim=True).clamp(min=MIN_MEAN)
            parts = [
                networks[:, :, k : k + 1] / (whole if k in self.fractions else 1.0)
                for k in range(networks.shape[2])
            ]
            networks = torch.cat(parts, 2)
        spread = networks.std(1, correction=int(n_networks > 1))
        return networks.mean(1).to(torch.float32), spread.to(torch.float32)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map raw (B, *raw_shape) to mean and spread in units, (B, n_targets) each.

        Where the domain is known, ``layout.DISTANCES`` over their limits (B, 3) follow.
        """
        z = self.standardize(x)
        found = self.combine(self.models(z))
        return found if self.domain is None else (*found, self.domain(z).to(torch.float32))
