"""A convolutional network with models of the inputs' views beside it, whose outputs add up.

Convolutions find shapes, but on a thousand recordings they do not learn what a spectrum or a
quantile says at once. A linear part that starts at ridge regression, and a dense part on
statistics, quantiles and spectra, know it from the start (docs/results.md).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.baselines.components import Sight
from hpo_utils.baselines.linear import fit_ridge
from hpo_utils.network.constraints import PhysicalOutput
from hpo_utils.network.seen import Seen, SeenOnDisk

WIDTH = 8  # units of a dense layer, in multiples of ``model.hidden``
REACH = 3.0  # of a step, in learning rates times the square root of the number of inputs


class LinearPart(nn.Module):
    """A linear model of components that starts at ridge regression.

    The regression is kept within the range of the training part, where it would extrapolate.
    It changes by ``change``, which begins at zero, so that weight decay draws it back to the ridge
    regression. The inputs of ``change`` are scaled so that a step of the optimizer changes
    predictions by no more than about the learning rate, whatever the number of components.
    """

    weight: Tensor
    bias: Tensor
    unit: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, n_components: int, n_targets: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_components, n_targets, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(n_targets, dtype=torch.float64))
        self.register_buffer("unit", torch.zeros(n_components))
        infinite = torch.full((n_targets,), torch.inf, dtype=torch.float64)
        self.register_buffer("low", -infinite)
        self.register_buffer("high", infinite)
        self.change = nn.Linear(n_components, n_targets, bias=False)
        nn.init.zeros_(self.change.weight)

    def begin_at_ridge(
        self,
        components: Tensor,
        outputs: Tensor,
        groups: NDArray[np.int64] | None,
        weights: NDArray[np.float32] | None,
    ) -> None:
        """Start at the cross-validated regression of outputs (n, n_targets) on components.

        NaN among the outputs stands for what was not measured.
        """
        seen = components.cpu().numpy()
        start, alpha = fit_ridge(seen, outputs.cpu().double().numpy(), groups, weights)
        self.weight.copy_(start.weight)
        self.bias.copy_(start.bias)
        self.low.copy_(outputs.nan_to_num(torch.inf).amin(0))
        self.high.copy_(outputs.nan_to_num(-torch.inf).amax(0))
        # one by one: a copy of all in double precision would be large
        spreads = [column.astype(np.float64).var() for column in seen.T]
        variances = torch.tensor(spreads, dtype=torch.float64)
        kept = variances / (variances + alpha)  # the shares that ridge regression keeps
        self.unit.copy_((kept / variances.clamp(min=1e-30) / kept.sum()).sqrt())

    def forward(self, components: Tensor) -> Tensor:
        """Map components (B, n_components) to (B, n_targets)."""
        # in double precision, which automatic mixed precision leaves alone
        start = components.double() @ self.weight + self.bias
        start = torch.minimum(torch.maximum(start, self.low), self.high)
        change: Tensor = self.change(components * self.unit)
        return start.float() + change


class ManyInputs(nn.Module):
    """A linear layer whose outputs move alike with each step of Adam, however many its inputs.

    Adam moves each weight by the learning rate, so many inputs together would move the output far.
    Scaled inputs bound that; larger initial weights keep the outputs as they are at first.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.scale = min(1.0, REACH / n_inputs**0.5)
        self.linear = nn.Linear(n_inputs, n_outputs)
        with torch.no_grad():
            self.linear.weight /= self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_inputs) to (B, n_outputs)."""
        out: Tensor = self.linear(x * self.scale)
        return out


class WithViews(nn.Module):
    """A convolutional network, and a linear and a dense part on views of the same inputs.

    The last layers of the network and of the dense part begin at zero, so that the whole begins at
    the linear part: at ridge regression, or at the training mean without one.

    Parameters
    ----------
    network
        A network with a ``head`` that ends in a linear layer.
    sight
        How the inputs are seen, fitted on the training part. It is not part of the state dict: all
        trainings on the same data share it.
    cfg
        Of its section ``model``, ``linear_start``, ``use_views``, ``hidden`` and ``dropout_rate``.
    n_targets
        Number of outputs.
    """

    def __init__(self, network: nn.Module, sight: Sight, cfg: Config, n_targets: int) -> None:
        super().__init__()
        self.network, self.sight = network, sight
        self.linear = LinearPart(sight.n_components, n_targets) if cfg.model.linear_start else None
        self.dense = _dense(sight.n_scaled, cfg, n_targets) if cfg.model.use_views else None
        self.output = nn.Sequential()  # which may get an output layer
        for part in (network.head, self.dense):
            if part is not None:
                nn.init.zeros_(part[-1].weight)  # type: ignore[index,union-attr]
                nn.init.zeros_(part[-1].bias)  # type: ignore[index,union-attr]

    def begin_at_ridge(
        self,
        seen: Seen,
        z: Tensor,
        groups: NDArray[np.int64] | None,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """Start the linear part at ridge regression.

        Where an output layer follows, it is the regression of the outputs that the layer maps to
        the targets.

        Parameters
        ----------
        seen
            What ``sight`` returns for the training part, (n_samples, n_seen).
        z
            Its standardised targets (n_samples, n_targets).
        groups
            Its group numbers (n_samples,), kept together by the cross-validation.
        weights
            How much each sample counts (n_samples,); None: all alike.
        """
        for layer in self.output:
            z = cast(PhysicalOutput, layer).inverse(z)
        if self.linear is not None:
            n = self.sight.n_components
            components = seen.columns(n) if isinstance(seen, SeenOnDisk) else seen[:, :n]
            self.linear.begin_at_ridge(components, z, groups, weights)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Map (B, n_channels, ...) to (B, n_targets).

        ``seen`` is what ``sight`` returns, if it is known already.
        """
        found = self.sight(x) if seen is None else seen
        total = self.network(x).float()
        if self.linear is not None:
            total = total + self.linear(found[:, : self.sight.n_components])
        if self.dense is not None:
            total = total + self.dense(found[:, self.sight.n_components :])
        out: Tensor = self.output(total)
        return out


def _dense(n_inputs: int, cfg: Config, n_targets: int) -> nn.Sequential:
    """Return a dense network of two hidden layers."""
    width, dropout_rate = WIDTH * cfg.model.hidden, cfg.model.dropout_rate
    return nn.Sequential(
        ManyInputs(n_inputs, width), nn.SiLU(), nn.Dropout(dropout_rate),
        nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout_rate),
        nn.Linear(width, n_targets),
    )  # fmt: skip
