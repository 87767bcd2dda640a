"""The domain of application: how far a sample's inputs lie from those of the training part.

Chemometrics asks it by three numbers on principal components of the inputs (ASTM E1655; Jackson,
A User's Guide to Principal Components, 1991): Hotelling's T² is the distance within the directions
in which the training part varies, Q, the squared residual (DModX), that beyond them, and the
distance to the nearest neighbour shows a sample that lies amid the training part where it has a
gap. In Q each feature's residual counts in its own standard deviations, so that a small peak where
none was shows beside features that are noisy.
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

from hpo_utils.baselines.components import Arrays, principal_axes, some_of
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import in_blocks

N_BANDS = {1: 32, 2: 8}  # along each axis, of signals and of images
MAX_FEATURES = 1024  # of many channels, bands get wider
EXPLAINED, MAX_COMPONENTS = 0.95, 20  # share of the variance that the components explain, at most
SAMPLES_PER_COMPONENT = 5  # of the training part
MAX_NEIGHBOURS = 1000  # of the training part, spread evenly
LEAST_GAP = 0.5  # standard deviations of the leading components; dense samples have smaller ones
FALSE_ALARMS = 0.05  # share of like samples that lie beyond one of the limits
LEAST_NOISE = 1e-3  # standard deviations of a feature
FLOOR = 1e-3  # standard deviations of a channel, added to the spread within a band


class Domain(Arrays):
    """The training part's inputs as principal components of levels and spreads in bands.

    ``mean`` and ``scale`` (n_features,) standardise the features, ``projection`` (n_features, n)
    leads to the components, whose variances are ``variances`` (n,); ``noise`` (n_features,) are the
    standard deviations of what the components leave; ``neighbours`` (m, k) are training samples by
    the leading components, whitened; ``limits`` (3,) are those of T², Q and the squared distance to
    the nearest.
    """

    mean: Tensor
    scale: Tensor
    projection: Tensor
    variances: Tensor
    noise: Tensor
    neighbours: Tensor
    limits: Tensor

    @classmethod
    def of(cls, data: PreparedData) -> Self:
        """Fit to the training part of ``data``; the limits hold for the validation part, too."""
        data = data.as_given()  # in which no validation sample trains
        groups = data.groups("train")
        own = None if groups is None else some_of(groups)
        return cls.fitted(some_of(data.inputs("train")), some_of(data.inputs("val")), own)

    @classmethod
    def fitted(
        cls,
        inputs: NDArray[np.float32],
        held_out: NDArray[np.float32],
        groups: NDArray[np.int64] | None = None,
    ) -> Self:
        """Fit to standardised inputs (n_samples, n_channels, ...), and the limits to both.

        ``groups`` (n_samples,) are those of the inputs: no neighbour is of the own group.
        """
        train, val = (torch.from_numpy(_in_pieces(features, part)) for part in (inputs, held_out))
        found = cls(_fit(train.numpy()))
        of_train, of_val = (found.of_features(part).numpy() for part in (train, val))
        of_train[:, 2] = found._to_others(train, groups)
        # held-out samples keep the promise; of few, the components hold some of their own chance,
        # and the training part itself lies farther within them than any other
        limits = np.maximum(_limits(of_train), _limits(of_val))
        limits[2] = max(limits[2], LEAST_GAP**2)
        found.limits.copy_(torch.from_numpy(limits))
        return found

    def of_features(self, features: Tensor) -> Tensor:
        """Return T², Q and neighbour over their limits (B, 3), of features (B, n_features)."""
        standard = (features - self.mean) / self.scale
        components = standard @ self.projection
        beyond = ((standard - components @ self.projection.T) / self.noise).square().sum(1)
        found = [(components.square() / self.variances).sum(1), beyond]
        if len(self.limits) > len(found):
            found.append(self._to_neighbours(components).amin(1))
        return torch.stack(found, 1) / self.limits

    def _to_neighbours(self, components: Tensor) -> Tensor:
        """Return the squared distances (B, m) to the neighbours, by the leading components."""
        k = self.neighbours.shape[1]
        points = components[:, :k] / self.variances[:k].sqrt()
        squares = points.square().sum(1)[:, None] + self.neighbours.square().sum(1)
        return (squares - 2.0 * points @ self.neighbours.T).clamp(min=0.0)

    def _to_others(self, features: Tensor, groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """Return each training sample's squared distance to the nearest of another group."""
        apart = self._to_neighbours((features - self.mean) / self.scale @ self.projection).numpy()
        several = groups is not None and len(set(groups)) > 1
        units = groups if several and groups is not None else np.arange(len(features))
        apart[units[:, None] == some_of(units, MAX_NEIGHBOURS)] = np.inf
        return np.asarray(apart.min(axis=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return T², Q and neighbour over their limits (B, 3).

        ``x`` are standardised inputs (B, n_channels, ...). A sample is within the domain if all are
        at most one.
        """
        return self.of_features(features(x))

    def wider_limits(self, ratios: NDArray[Any]) -> Tensor:
        """Return limits (3,) that hold for other samples, too.

        ``ratios`` (n_samples, 3) are T², Q and neighbour of these over the limits so far.
        """
        own = _limits(ratios.astype(np.float64))
        return self.limits * torch.from_numpy(np.maximum(own, 1.0))


def distances(domain: Domain, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return T², Q and neighbour over their limits (n_samples, 3) of standardised inputs."""
    return _in_pieces(domain, x)


def leverages(domain: Domain, x: NDArray[np.float32], n_train: int) -> NDArray[np.float64]:
    """Return the leverage (n_samples,) of standardised inputs in a calibration of ``n_train``.

    That of the components: 1/n for the mean and, since the variances are those of the training
    part, T²/n (ASTM E1655).
    """
    t2 = distances(domain, x)[:, 0] * float(domain.limits[0])
    return np.asarray((1.0 + t2) / n_train)


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


def _fit(train: NDArray[np.float64]) -> dict[str, Tensor]:
    """Return the arrays of a domain for features (n_samples, n_features), with limits of one."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale <= 1e-9 * np.maximum(np.abs(mean), 1.0)] = 1.0
    standard = (train - mean) / scale
    variances, axes = principal_axes(standard.T @ standard / len(train))
    variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
    enough = int((variances.cumsum() < EXPLAINED * variances.sum()).sum()) + 1
    n = min(enough, max(1, min(MAX_COMPONENTS, len(train) // SAMPLES_PER_COMPONENT)))
    projection, variances = axes[:, :n], np.maximum(variances[:n], 1e-12)
    components = standard @ projection
    k = _n_leading(variances, len(mean))
    arrays = {
        "mean": mean, "scale": scale, "projection": projection, "variances": variances,
        "noise": np.maximum((standard - components @ projection.T).std(axis=0), LEAST_NOISE),
        "neighbours": some_of(components / np.sqrt(variances), MAX_NEIGHBOURS)[:, :k],
        "limits": np.ones(3),
    }  # fmt: skip
    return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in arrays.items()}


def _n_leading(variances: NDArray[np.float64], n_features: int) -> int:
    """Return how many components exceed the pieces of a stick broken at random, at least one.

    So much a component of noise would explain (Jackson, Ecology 74 (1993), 2204-2214). Many of
    noise would hide a gap in the few that matter.
    """
    pieces = (1 / np.arange(n_features, 0, -1)).cumsum()[::-1][: len(variances)]
    return max(1, int((variances > pieces).cumprod().sum()))


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
    """Return the limits that ``FALSE_ALARMS`` of like samples exceed in one of the columns.

    ``values`` (n_samples, 3) are those of samples that the components were not fitted to. How the
    limits compare is that of multiples of chi-squared with their means and variances (Box, Ann.
    Math. Statist. 25 (1954), 290-302; Nomikos and MacGregor, Technometrics 37 (1995), 41-59). A
    common factor makes the promise hold whatever the distribution, if there are 19 samples or more
    (split conformal: Lei et al., JASA 113 (2018), 1094-1111).
    """
    n = len(values)
    mean = np.maximum(values.mean(axis=0), 1e-12)
    variance = np.maximum(values.var(axis=0), 1e-6 * mean**2)
    balanced = (
        variance / (2 * mean) * chdtri(2 * mean**2 / variance, FALSE_ALARMS / values.shape[1])
    )
    rank = min(n, math.ceil((n + 1) * (1 - FALSE_ALARMS)))
    found: NDArray[np.float64] = balanced * np.sort((values / balanced).max(axis=1))[rank - 1]
    return found
