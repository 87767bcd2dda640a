"""The plain and the residual convolutional regressor, for signals (1-D) and images (2-D).

ReLU and max pooling give the same result in either order; pooling first leaves ReLU a quarter of
the values of an image. ReLU works in place where nothing else reads its input, because writing
large outputs costs more than computing them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError
from hpo_utils.baselines.components import Sight
from hpo_utils.data.physics import Physics, active_physics
from hpo_utils.data.scaling import Standardizer
from hpo_utils.network.constraints import PhysicalOutput
from hpo_utils.network.convolutions import Conv1d, Conv2d
from hpo_utils.network.memory import is_out_of_memory, release_memory
from hpo_utils.network.pretreatment import NONE, Pretreatment
from hpo_utils.network.seen import Seen
from hpo_utils.network.with_views import WithViews

EVALUATION_VALUES = 2**24  # limit of the first layer's output without gradients: 64 MB in float32
UNIFORM = 3**0.5  # ends of a uniform distribution of variance 1 about zero
STAGE_WIDTHS = (1, 2, 4, 4)  # channels of the residual stages, in multiples of `hidden`


@dataclass(frozen=True)
class Layers:
    """The layer types for 1-D or for 2-D inputs."""

    conv: type[Conv1d] | type[Conv2d]
    norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]
    max_pool: type[nn.MaxPool1d] | type[nn.MaxPool2d]


LAYERS = {
    1: Layers(Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: Layers(Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}


class MeanPool(nn.Module):
    """Global average pooling, computed as a sum and a division.

    In the backward pass, too, only one value per channel is divided. PyTorch's average pooling
    expands the gradient to every place instead, and for images not in channels-last format.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, L) or (B, n_channels, H, W) to (B, n_channels)."""
        return x.sum(tuple(range(2, x.ndim))) / math.prod(x.shape[2:])


class ResidualBlock(nn.Module):
    """Two 3-wide convolutions with a shortcut (He et al., CVPR 2016, Fig. 2)."""

    def __init__(self, layers: Layers, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layers.conv(n_in, n_out, 3, stride, padding=1, bias=False),
            layers.norm(n_out),
            nn.ReLU(inplace=True),
            layers.conv(n_out, n_out, 3, padding=1, bias=False),
            layers.norm(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                layers.conv(n_in, n_out, 1, stride, bias=False), layers.norm(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, *size) to (B, n_out, *(size / stride))."""
        return torch.relu_(self.body(x) + self.shortcut(x))


class ChannelStatistics(nn.Module):
    """Mean, standard deviation, minimum and maximum of each channel, normalised over the batch.

    Convolutions detect shapes but lose signal levels; these statistics keep the levels.
    """

    N_STATISTICS = 4

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(self.N_STATISTICS * n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, ...) to (B, N_STATISTICS * n_channels)."""
        flat = x.flatten(2)  # (B, n_channels, L or H * W)
        found = (flat.mean(2), flat.std(2, correction=0), flat.amin(2), flat.amax(2))
        out: Tensor = self.norm(torch.cat(found, 1))
        return out


class Positions(nn.Module):
    """The inputs, and a channel for each axis that says where along it a value lies.

    Pooling over all places forgets where a shape was found, and so when an echo came back. From
    such a channel convolutions learn it (Liu et al., "CoordConv", NeurIPS 2018).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, ...) to (B, n_channels + n_axes, ...); positions have variance 1."""
        positions = [torch.zeros_like(x[:, :1]) for _ in range(x.ndim - 2)]
        for axis, empty in enumerate(positions, 2):
            ramp = torch.linspace(-UNIFORM, UNIFORM, x.shape[axis], dtype=x.dtype, device=x.device)
            positions[axis - 2] = empty + ramp.reshape((-1, *[1] * (x.ndim - 1 - axis)))
        return torch.cat([x, *positions], 1)


class ResidualCNN(nn.Module):
    """Strided 7-wide stem, pooling, four residual stages, global average pooling, two-layer head.

    Parameters
    ----------
    n_axes
        1 for inputs (B, n_channels, L), 2 for (B, n_channels, H, W).
    n_channels, n_targets
        Number of input channels and of targets.
    hidden
        Channels of the first stage; the later stages have 2, 4 and 4 times as many.
    dropout_rate
        Dropout probability of the features before each layer of the head.
    use_statistics
        Whether the head gets ``ChannelStatistics`` of the inputs next to the pooled features.
    use_positions
        Whether the first convolution gets ``Positions``.
    """

    def __init__(
        self,
        n_axes: int,
        n_channels: int,
        n_targets: int,
        hidden: int,
        dropout_rate: float,
        use_statistics: bool,
        use_positions: bool,
    ) -> None:
        super().__init__()
        self.pretreatment: nn.Module = nn.Identity()
        self.positions: nn.Module = Positions() if use_positions else nn.Identity()
        layers, n_inputs = LAYERS[n_axes], n_channels + n_axes * use_positions
        self.stem = nn.Sequential(
            layers.conv(n_inputs, hidden, 7, stride=2, padding=3, bias=False),
            layers.norm(hidden),
            layers.max_pool(3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        widths = [hidden, *(hidden * factor for factor in STAGE_WIDTHS)]
        self.stages = nn.Sequential(
            *(
                ResidualBlock(layers, n_in, n_out, stride=1 if i == 0 else 2)
                for i, (n_in, n_out) in enumerate(pairwise(widths))
            )
        )
        self.pool = MeanPool()
        self.statistics = ChannelStatistics(n_channels) if use_statistics else None
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout_rate),
            nn.Linear(widths[-1] + _n_statistics(self.statistics, n_channels), 2 * hidden),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(2 * hidden, n_targets),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, L) or (B, n_channels, H, W) to (B, n_targets)."""
        placed = self.positions(self.pretreatment(x))
        features = self.pool(self.stages(self.stem(placed)))  # (B, 4 * hidden)
        out: Tensor = self.head(_with_statistics(features, x, self.statistics))
        return out


class PlainCNN(nn.Module):
    """Convolutions with pooling between them, global average pooling and a linear head.

    The parameters are those of ``ResidualCNN``, the number ``depth`` of convolutions, and their
    ``kernel_size``.
    """

    def __init__(
        self,
        n_axes: int,
        n_channels: int,
        n_targets: int,
        hidden: int,
        dropout_rate: float,
        use_statistics: bool,
        use_positions: bool,
        depth: int = 2,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.pretreatment: nn.Module = nn.Identity()
        self.positions: nn.Module = Positions() if use_positions else nn.Identity()
        layers, n_inputs = LAYERS[n_axes], n_channels + n_axes * use_positions
        stages: list[nn.Module] = []
        for i in range(depth):
            padding = kernel_size // 2
            stages += [
                layers.conv(n_inputs, hidden, kernel_size, padding=padding, bias=False),
                layers.norm(hidden),
                *([layers.max_pool(2, ceil_mode=True)] if i < depth - 1 else []),
                nn.ReLU(inplace=True),
            ]
            n_inputs = hidden
        self.features = nn.Sequential(*stages, MeanPool())
        self.statistics = ChannelStatistics(n_channels) if use_statistics else None
        n_features = hidden + _n_statistics(self.statistics, n_channels)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout_rate), nn.Linear(n_features, n_targets)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, L) or (B, n_channels, H, W) to (B, n_targets)."""
        features = self.features(self.positions(self.pretreatment(x)))  # (B, hidden)
        out: Tensor = self.head(_with_statistics(features, x, self.statistics))
        return out


def _n_statistics(statistics: ChannelStatistics | None, n_channels: int) -> int:
    return 0 if statistics is None else statistics.N_STATISTICS * n_channels


def _with_statistics(features: Tensor, x: Tensor, statistics: ChannelStatistics | None) -> Tensor:
    """Append the statistics of ``x``, if wanted, to the features (B, n_features)."""
    return features if statistics is None else torch.cat([features, statistics(x)], 1)


def create_model(
    cfg: Config, x_sample: Tensor, out_dim: int, device: torch.device | str = "cpu"
) -> PlainCNN | ResidualCNN:
    """Create the network for a configuration and the shape of the data.

    Parameters
    ----------
    cfg
        Only its section ``model`` is used.
    x_sample
        Any inputs of shape (B, n_channels, L) for a 1-D or (B, n_channels, H, W) for a 2-D network.
        Only a pretreatment depends on their size; it must still be fitted (``Pretreatment.fit``).
    out_dim
        Number of targets.
    device
        Device of the model.

    Raises
    ------
    ConfigError
        If the inputs have another number of axes.
    """
    n_axes = x_sample.ndim - 2
    if n_axes not in LAYERS:
        raise ConfigError(
            "x_sample must have shape (B, n_channels, L) or (B, n_channels, H, W), got"
            f" {tuple(x_sample.shape)}"
        )
    asked = cfg.model
    given = (
        n_axes, x_sample.shape[1], out_dim, asked.hidden, asked.dropout_rate, asked.use_statistics,
        asked.use_positions,
    )  # fmt: skip
    model: PlainCNN | ResidualCNN = (
        ResidualCNN(*given)
        if asked.use_residual
        else PlainCNN(*given, asked.depth, asked.kernel_size)
    )
    if cfg.model.pretreatment != NONE:
        model.pretreatment = Pretreatment(cfg.model.pretreatment, tuple(x_sample.shape[1:]))
    return model.to(device, memory_format=memory_format(n_axes))  # type: ignore[call-overload,no-any-return]


def create_network(
    cfg: Config,
    x_sample: Tensor,
    target_scaler: Standardizer,
    physics: Physics,
    device: torch.device | str = "cpu",
    sight: Sight | None = None,
) -> PlainCNN | ResidualCNN | WithViews:
    """Create the model, with a physical output layer unless ``model.constrain_outputs`` is off.

    Its outputs, of shape (B, n_targets), are standardised targets. Without known physics there is
    no such layer. With ``sight``, which ``model.linear_start`` and ``model.use_views`` ask for,
    models of the inputs' views stand beside the network.
    """
    n_targets = len(target_scaler.mean)
    network = create_model(cfg, x_sample, n_targets, device)
    model: PlainCNN | ResidualCNN | WithViews = network
    output = network.head
    if sight is not None:
        model = WithViews(network, sight, cfg, n_targets).to(device)
        output = model.output
    enforced = active_physics(cfg, physics)
    if enforced:
        layer = PhysicalOutput(enforced, target_scaler.mean, target_scaler.std)
        output.append(layer.to(device))
    return model


def predict(
    model: nn.Module,
    x: Tensor,
    batch_size: int,
    seen: Seen | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return predictions (n_samples, n_targets) of ``x``, without gradients, in batches.

    Each batch is moved to ``device``, if None to that of the model's parameters. It has
    ``batch_size`` samples, or fewer if the memory does not suffice. ``seen`` (n_samples, n_seen) is
    what the model's sight returns, if it is known already.
    """
    model.eval()
    device = next(model.parameters()).device if device is None else device
    found: list[Tensor] = []
    n_done = 0
    while n_done < len(x):
        piece = x[n_done : n_done + batch_size]
        known = () if seen is None else (seen[n_done : n_done + batch_size],)
        try:
            with torch.inference_mode():
                on_device = piece.to(device, memory_format=memory_format(x.ndim - 2))
                found.append(model(on_device, *(each.to(device) for each in known)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(piece) == 1:
                raise
            batch_size = len(piece) // 2
        else:
            n_done += len(piece)
            continue
        release_memory(device)  # only now: the error held on to tensors
    return torch.cat(found)


def memory_format(n_axes: int) -> torch.memory_format:
    """Return the memory format of inputs and weights: channels last for images, which is faster."""
    return torch.channels_last if n_axes == 2 else torch.contiguous_format


def evaluation_batch(cfg: Config, x: Tensor) -> int:
    """Return how many samples of ``x`` to evaluate at a time: a training batch, more if small."""
    values = x[0, 0].numel() * cfg.model.hidden  # of one sample after a layer with stride 1
    return max(cfg.training.batch_size, EVALUATION_VALUES // values)
