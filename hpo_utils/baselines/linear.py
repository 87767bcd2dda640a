"""Ridge regression on principal components, with a penalty of its own for each target.

Cross-validation chooses the penalty. It leaves out whole groups where there are groups: samples of
one recording would reveal each other's targets, and the penalty chosen that way would be too small
for new recordings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.baselines.components import Array, Arrays, measured_together, principal_axes
from hpo_utils.data.scaling import BLOCK_VALUES

# of the penalty, relative to the components' total variance of about one
ALPHAS = np.logspace(-7, 1, 17)
N_FOLDS = 5
Positions = NDArray[np.int64]
Splits = list[tuple[Positions, Positions]]


class LinearModel(Arrays):
    """A linear map of components to standardised targets.

    ``weight`` has shape (n_components, n_targets), ``bias`` (n_targets,).
    """

    weight: Tensor
    bias: Tensor

    def forward(self, components: Tensor) -> Tensor:
        """Map components (B, n_components) to standardised targets (B, n_targets), float64."""
        return components @ self.weight + self.bias


def fit_ridge(
    components: Array | NDArray[np.float32],
    z: Array,
    groups: NDArray[np.int64] | None,
    weights: NDArray[np.float32] | None = None,
) -> tuple[LinearModel, float]:
    """Return ridge regression of ``z`` (n_samples, n_targets) on components (n_samples, n).

    NaN in ``z`` stands for what was not measured; ``weights`` (n_samples,) say how much each sample
    counts, None: all alike. The second value is the penalty, the geometric mean of those of the
    targets.
    """
    n_targets = z.shape[1]
    weight, bias = np.zeros((components.shape[1], n_targets)), np.zeros(n_targets)
    penalties = np.zeros(n_targets)
    counts = np.ones(len(z)) if weights is None else weights.astype(np.float64)
    for rows, columns in measured_together(z):
        own = None if groups is None else groups[rows]
        splits = [(rows[train], rows[held]) for train, held in folds(len(rows), own)]
        found = _fit_together(components, z[:, columns], splits, counts)
        weight[:, columns], bias[columns], penalties[columns] = found
    model = LinearModel({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return model, float(np.exp(np.log(penalties).mean()))


def _fit_together(
    components: NDArray[Any], z: Array, splits: Splits, counts: Array
) -> tuple[Array, Array, Array]:
    """Return weight (n, n_targets), bias and penalty (n_targets,) of targets without gaps.

    Penalties are compared by ``splits``, whose held-out samples are all that are fitted.
    """
    parts = [_Moments.of(components, z, held, counts) for _, held in splits]
    whole = sum(parts[1:], parts[0])
    errors = np.zeros((len(ALPHAS), z.shape[1]))
    for (_, held), part in zip(splits, parts, strict=True):
        weights, biases = _ridge_path(whole - part if len(parts) > 1 else whole)
        for rows, x in _in_blocks(components, held):
            residuals = np.einsum("sc,act->ast", x, weights, optimize=True)
            residuals += biases[:, None] - z[rows]
            errors += np.einsum("s,ast,ast->at", counts[rows], residuals, residuals, optimize=True)
    best, each = errors.argmin(axis=0), np.arange(z.shape[1])
    weights, biases = _ridge_path(whole)
    return weights[best, :, each].T, biases[best, each], ALPHAS[best]


@dataclass(frozen=True)
class _Moments:
    """Weighted sums over samples, of which ridge regression needs to know no more.

    Those of a training part are those of all samples less those of the held-out ones, so that each
    sample is looked at once, however many parts there are.
    """

    count: float
    x: Array
    z: Array
    xx: Array
    xz: Array

    @classmethod
    def of(cls, components: NDArray[Any], z: Array, rows: Positions, counts: Array) -> Self:
        """Return the sums over the samples ``rows``, which few at a time are copied."""
        n, n_targets = components.shape[1], z.shape[1]
        sums = cls(
            0.0, np.zeros(n), np.zeros(n_targets), np.zeros((n, n)), np.zeros((n, n_targets))
        )
        for some, x in _in_blocks(components, rows):
            by_count = counts[some, None] * x
            sums += cls(
                counts[some].sum(), by_count.sum(0), counts[some] @ z[some],
                by_count.T @ x, by_count.T @ z[some],
            )  # fmt: skip
        return sums

    def __add__(self, other: Self) -> Self:
        return self._combined(other, 1.0)

    def __sub__(self, other: Self) -> Self:
        return self._combined(other, -1.0)

    def _combined(self, other: Self, sign: float) -> Self:
        own, others = vars(self), vars(other)
        return type(self)(**{name: own[name] + sign * others[name] for name in own})


def _ridge_path(sums: _Moments) -> tuple[Array, Array]:
    """Return weights (n_alphas, n, n_targets) and biases (n_alphas, n_targets) by ``ALPHAS``."""
    x_mean, z_mean = sums.x / sums.count, sums.z / sums.count
    covariance = sums.xx / sums.count - np.outer(x_mean, x_mean)
    variances, axes = principal_axes(covariance)
    seen = axes.T @ (sums.xz / sums.count - np.outer(x_mean, z_mean))
    shrunk = np.maximum(variances, 0.0) + ALPHAS[:, None]
    weights = axes @ (seen / shrunk[:, :, None])
    return weights, z_mean - x_mean @ weights


def _in_blocks(components: NDArray[Any], rows: Positions) -> Iterator[tuple[Positions, Array]]:
    """Yield some of the positions and their components in double precision."""
    step = max(1, BLOCK_VALUES // components.shape[1])
    for some in np.split(rows, range(step, len(rows), step)):
        yield some, components[some].astype(np.float64)


def folds(
    n_samples: int, groups: NDArray[np.int64] | None, most: int = N_FOLDS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions of training and held-out samples, by group if there are several groups."""
    units = np.arange(n_samples)
    if groups is not None and len(np.unique(groups)) > 1:
        units = np.unique(groups, return_inverse=True)[1]
    n_units = int(units.max()) + 1
    dealt = np.random.default_rng(0).permutation(n_units) % min(most, n_units)
    for fold in range(min(most, n_units)):
        held = dealt[units] == fold
        yield np.flatnonzero(~held), np.flatnonzero(held)
