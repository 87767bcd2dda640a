"""What models see of the inputs: principal components of some views, and other views scaled.

The components are not whitened: their variances add up to one at most, so a penalty or a step of
the optimizer moves strong directions more than weak ones, which are mostly noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.base.paths import is_whole_archive, write_tensors
from hpo_utils.baselines.views import LINEAR, TREE, views
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import MEAN, in_blocks

FILE = "sight-1-{factor}{how}.pt"  # change the number if something else is fitted
SIGHT = ("components", "scaling")
MAX_COMPONENTS = 256
MAX_SEEN = 10_000  # samples that the directions are found from
REACH, MIN_SHARE = 3.0, 0.2  # of smoothly scaled features; quartiles over standard deviation
Array = NDArray[np.float64]
MARGIN = 1.0  # standard deviations beyond the training range up to which a feature is believed


class Arrays(nn.Module):
    """A fitted model that consists of arrays alone, kept as buffers outside of state dicts."""

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, values in arrays.items():
            self.register_buffer(name, values, persistent=False)

    def arrays(self) -> dict[str, Tensor]:
        """Return the arrays by name, to be given to the constructor."""
        return {name: values.cpu() for name, values in self.named_buffers()}


class Components(Arrays):
    """The map from features to principal components.

    Each feature is standardised and kept within its training range and a margin, so that no sample
    is extrapolated far.
    """

    mean: Tensor
    inverse_scale: Tensor
    low: Tensor
    high: Tensor
    projection: Tensor

    @classmethod
    def of(cls, features: NDArray[np.float64], most: int = MAX_COMPONENTS) -> Self:
        """Fit to features (n_samples, n_features) of the training part."""
        mean, scale = features.mean(axis=0), features.std(axis=0)
        # a feature that does not vary beyond rounding counts as constant
        varies = scale > 1e-9 * np.maximum(np.abs(mean), 1e-9)
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=varies)
        inverse /= np.sqrt(max(int(varies.sum()), 1))  # so that all variances add up to one
        standard = features - mean
        standard *= inverse  # in place: of many samples, each copy is large
        margin = MARGIN / np.sqrt(max(int(varies.sum()), 1))
        arrays = {
            "mean": mean, "inverse_scale": inverse,
            "low": standard.min(axis=0) - margin, "high": standard.max(axis=0) + margin,
            "projection": _directions(standard, most),
        }  # fmt: skip
        return cls({name: torch.from_numpy(values) for name, values in arrays.items()})

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, n_features) to components (B, n_components), both float64."""
        standard = (features - self.mean) * self.inverse_scale
        kept = torch.minimum(torch.maximum(standard, self.low), self.high)
        return kept @ self.projection

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what ``forward`` does, of arrays and with few samples in memory at a time."""
        return np.concatenate(
            [self(torch.from_numpy(some)).numpy() for some in in_blocks(features)]
        )


def _directions(x: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return the principal directions (n_features, n_components) of centred ``x``."""
    n_samples, n_features = x.shape
    n = max(1, min(most, n_samples - 1, n_features))
    if n_features <= n_samples:
        return np.ascontiguousarray(principal_axes(x.T @ x)[1][:, ::-1][:, :n])
    variances, axes = principal_axes(x @ x.T)
    variances, axes = variances[::-1][:n], axes[:, ::-1][:, :n]
    size = np.sqrt(np.maximum(variances, np.finfo(np.float64).eps * variances[0]))
    return np.ascontiguousarray(x.T @ (axes / size))


def principal_axes(covariance: Array) -> tuple[Array, Array]:
    """Return the eigenvalues (n,) of a symmetric matrix (n, n), ascending, and its axes (n, n).

    One thread finds them: where another process needs a core, two threads wait for each other and
    take 2 to 20 times as long.
    """
    with threadpool_limits(1, user_api="blas"):
        variances, axes = np.linalg.eigh(covariance)
    return variances, axes


class SmoothScaling(Arrays):
    """Features scaled by their quartiles, and far ones drawn in smoothly to ``REACH``.

    Heavy tails, as of powers and extremes, would otherwise rule a dense network (after Holzmüller
    et al., RealMLP, NeurIPS 2024).
    """

    centre: Tensor
    inverse_scale: Tensor

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> Self:
        """Fit to features (n_samples, n_features) of the training part."""
        first, centre, third = np.quantile(features, (0.25, 0.5, 0.75), axis=0)
        # a feature with a few far values has no quartiles apart
        scale = np.maximum(third - first, MIN_SHARE * features.std(axis=0))
        varies = scale > 1e-9 * np.maximum(np.abs(centre), 1e-9)
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=varies)
        arrays = {"centre": centre, "inverse_scale": inverse}
        return cls({name: torch.from_numpy(values) for name, values in arrays.items()})

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, n_features) to scaled ones of the same shape, float64."""
        scaled = (features - self.centre) * self.inverse_scale
        return scaled / (1.0 + (scaled / REACH).square()).sqrt()


class Sight(nn.Module):
    """Components of the linear views, followed by the tree views, smoothly scaled."""

    def __init__(self, components: Components, scaling: SmoothScaling) -> None:
        super().__init__()
        self.components, self.scaling = components, scaling
        self.n_components = components.projection.shape[1]
        self.n_scaled = len(scaling.centre)
        self.n_seen = self.n_components + self.n_scaled

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, ...) to (B, n_components + n_scaled), float32."""
        return self.of_views(*views(x, LINEAR, TREE))

    def of_views(self, linear: Tensor, tree: Tensor) -> Tensor:
        """Return what ``forward`` does, from the views of the inputs."""
        return torch.cat([self.components(linear), self.scaling(tree)], 1).float()

    def arrays(self) -> dict[str, dict[str, Tensor]]:
        """Return all arrays by the names in ``SIGHT``, to be given to ``of_arrays``."""
        return {"components": self.components.arrays(), "scaling": self.scaling.arrays()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Mapping[str, Tensor]]) -> Self:
        """Return the sight whose arrays these are."""
        return cls(Components(arrays["components"]), SmoothScaling(arrays["scaling"]))


def sight_of(cfg: Config, data: PreparedData) -> Sight | None:
    """Return how a network with ``cfg`` sees ``data`` beside its convolutions, if it does."""
    if not (cfg.model.linear_start or cfg.model.use_views):
        return None
    return load_sight(data, cfg.dataset.downsample_factor, cfg.dataset.thinning == MEAN)


def load_sight(data: PreparedData, factor: int = 1, averaged: bool = True) -> Sight:
    """Return how the inputs of ``data`` are seen, thinned as in ``PreparedData.inputs``.

    It is fitted on the training part once, and saved in the directory of the data. If the data are
    dealt out anew, it stays that of the given training part, as the scalers do.
    """
    data = data.as_given()
    how = "" if averaged or factor == 1 else "-picked"
    file = data.directory / FILE.format(factor=factor, how=how)
    if is_whole_archive(file):
        with suppress(Exception):  # damaged: it may raise anything, and is written again
            return Sight.of_arrays(torch.load(file, weights_only=True))
    x = some_of(data.inputs("train", factor, averaged=averaged))
    linear, tree = look(x, LINEAR, TREE)
    found = Sight(Components.of(linear), SmoothScaling.of(tree))
    write_tensors(file, found.arrays())
    return found


def measured_together(
    z: Array,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the samples and the columns of targets that were measured in the same samples.

    ``z`` has shape (n_samples, n_targets), with NaN for what was not measured.
    """
    kinds, kind = np.unique(~np.isnan(z), axis=1, return_inverse=True)
    for k, known in enumerate(kinds.T):
        yield np.flatnonzero(known), np.flatnonzero(kind.ravel() == k)


def some_of(values: NDArray[Any], most: int = MAX_SEEN) -> NDArray[Any]:
    """Return at most ``most`` rows of ``values``, spread evenly."""
    rows = np.linspace(0, len(values) - 1, min(len(values), most)).astype(np.int64)
    return values if len(rows) == len(values) else values[rows]


def look(x: NDArray[Any], *kinds: str) -> list[NDArray[np.float64]]:
    """Return views (n_samples, n_features) of each kind, with a few samples in memory at a time."""
    found: list[NDArray[np.float64]] = []
    start = 0
    for block in in_blocks(x):
        pieces = views(torch.from_numpy(np.array(block)), *kinds)
        if not found:  # pieces put together at the end would take twice the memory
            found = [np.empty((len(x), piece.shape[1])) for piece in pieces]
        for all_of_kind, piece in zip(found, pieces, strict=True):
            all_of_kind[start : start + len(block)] = piece.numpy()
        start += len(block)
    return found
