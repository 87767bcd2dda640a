"""The domain of application: how far a sample's inputs lie from those of the training part.

Chemometrics asks it by two numbers on principal components of the inputs (ASTM E1655; Jackson,
A User's Guide to Principal Components, 1991): Hotelling's T² is the distance within the directions
in which the training part varies, and Q, the squared residual (DModX), that beyond them. Here each
feature's residual counts in its own standard deviations, so that a small peak where none was shows
beside features that are noisy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import chdtri
from torch import Tensor

from hpo_utils.baselines.components import Arrays, some_of
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import in_blocks

N_BANDS = {1: 32, 2: 8}  # along each axis, of signals and of images
MAX_FEATURES = 1024  # of many channels, bands get wider
EXPLAINED, MAX_COMPONENTS = 0.95, 20  # share of the variance that the components explain, at most
SAMPLES_PER_COMPONENT = 5  # of the training part
FALSE_ALARMS = 0.05  # share of like samples that lie beyond one of the two limits
LEAST_NOISE = 1e-3  # standard deviations of a feature
FLOOR = 1e-3  # standard deviations of a channel, added to the spread within a band


class Domain(Arrays):
    """The training part's inputs as principal components of levels and spreads in bands.

    ``mean`` and ``scale`` (n_features,) standardise the features, ``projection`` (n_features, n)
    leads to the components, whose variances are ``variances`` (n,); ``noise`` (n_features,) are the
    standard deviations of what the components leave; ``limits`` (2,) are those of T² and Q.
    """

    mean: Tensor
    scale: Tensor
    projection: Tensor
    variances: Tensor
    noise: Tensor
    limits: Tensor

    @classmethod
    def of(cls, data: PreparedData) -> Self:
        """Fit to the training part of ``data``; the limits hold for the validation part, too."""
        data = data.as_given()  # in which no validation sample trains
        return cls.fitted(*(some_of(data.inputs(part)) for part in ("train", "val")))

    @classmethod
    def fitted(cls, inputs: NDArray[np.float32], held_out: NDArray[np.float32]) -> Self:
        """Fit to standardised inputs (n_samples, n_channels, ...), and the limits to both."""
        train, val = (_in_pieces(features, part) for part in (inputs, held_out))
        mean, scale = train.mean(axis=0), train.std(axis=0)
        scale[scale <= 1e-9 * np.maximum(np.abs(mean), 1.0)] = 1.0
        standard = (train - mean) / scale
        variances, axes = np.linalg.eigh(standard.T @ standard / len(train))
        variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
        enough = int((variances.cumsum() < EXPLAINED * variances.sum()).sum()) + 1
        most = max(1, min(MAX_COMPONENTS, len(train) // SAMPLES_PER_COMPONENT))
        projection = np.ascontiguousarray(axes[:, : min(enough, most)])
        rest = standard - standard @ projection @ projection.T
        arrays = {
            "mean": mean, "scale": scale, "projection": projection,
            "variances": np.maximum(variances[: projection.shape[1]], 1e-12),
            "noise": np.maximum(rest.std(axis=0), LEAST_NOISE), "limits": np.ones(2),
        }  # fmt: skip
        found = cls({name: torch.from_numpy(values) for name, values in arrays.items()})
        # held-out samples keep the promise; of few, the components hold some of their own chance,
        # and the training part itself lies farther within them than any other
        own = (_limits(found.of_features(torch.from_numpy(part)).numpy()) for part in (train, val))
        found.limits.copy_(torch.from_numpy(np.maximum(*own)))
        return found

    def of_features(self, features: Tensor) -> Tensor:
        """Return T² and Q over their limits (B, 2), for features (B, n_features)."""
        standard = (features - self.mean) / self.scale
        components = standard @ self.projection
        within = (components.square() / self.variances).sum(1)
        beyond = ((standard - components @ self.projection.T) / self.noise).square().sum(1)
        return torch.stack([within, beyond], 1) / self.limits

    def forward(self, x: Tensor) -> Tensor:
        """Return T² and Q over their limits (B, 2), for standardised inputs (B, n_channels, ...).

        A sample is within the domain if both are at most one.
        """
        return self.of_features(features(x))

    def wider_limits(self, ratios: NDArray[Any]) -> Tensor:
        """Return limits (2,) that hold for other samples, too.

        ``ratios`` (n_samples, 2) are T² and Q of these over the limits that hold so far.
        """
        own = _limits(ratios.astype(np.float64))
        return self.limits * torch.from_numpy(np.maximum(own, 1.0))


def distances(domain: Domain, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return T² and Q over their limits (n_samples, 2) of standardised inputs."""
    return _in_pieces(domain, x)


def features(x: Tensor) -> Tensor:
    """Return level and logarithm of the spread in bands (B, n_features), of (B, n_channels, ...).

    The bands of an image are rectangles.
    """
    x = x.to(torch.float64)
    n_axes, n_bands = x.ndim - 2, N_BANDS[x.ndim - 2]
    while n_bands > 1 and 2 * int(x.shape[1]) * n_bands**n_axes > MAX_FEATURES:
        n_bands //= 2
    level, square = x, x.square()
    for axis in range(2, x.ndim):
        level, square = (_band_means(each, axis, n_bands) for each in (level, square))
    spread = (square - level.square()).clamp(min=0.0).sqrt()
    return torch.cat([level.flatten(1), (spread + FLOOR).log().flatten(1)], 1)


def _band_means(x: Tensor, axis: int, n_bands: int) -> Tensor:
    """Return the means of so many bands along an axis, as equal in width as they can be."""
    length = int(x.shape[axis])
    edges = np.linspace(0, length, min(n_bands, length) + 1).round().astype(int).tolist()
    bands = [x.narrow(axis, a, b - a).mean(axis) for a, b in pairwise(edges)]
    return torch.stack(bands, axis)


def _in_pieces(function: Callable[[Tensor], Tensor], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ``function`` of samples that may lie on disk, with a few in memory at a time."""
    with torch.inference_mode():
        pieces = [function(torch.from_numpy(np.array(block))).numpy() for block in in_blocks(x)]
    return np.concatenate(pieces)


def _limits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the limits (2,) that ``FALSE_ALARMS`` of like samples exceed in one of the two.

    ``values`` (n_samples, 2) are those of samples that the components were not fitted to. How the
    limits compare is that of multiples of chi-squared with their means and variances (Box, Ann.
    Math. Statist. 25 (1954), 290-302; Nomikos and MacGregor, Technometrics 37 (1995), 41-59). A
    common factor makes the promise hold whatever the distribution, if there are 19 samples or more
    (split conformal: Lei et al., JASA 113 (2018), 1094-1111).
    """
    n = len(values)
    mean = np.maximum(values.mean(axis=0), 1e-12)
    variance = np.maximum(values.var(axis=0), 1e-6 * mean**2)
    balanced = variance / (2 * mean) * chdtri(2 * mean**2 / variance, FALSE_ALARMS / 2)
    rank = min(n, math.ceil((n + 1) * (1 - FALSE_ALARMS)))
    found: NDArray[np.float64] = balanced * np.sort((values / balanced).max(axis=1))[rank - 1]
    return found
