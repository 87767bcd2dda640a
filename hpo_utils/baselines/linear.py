"""Ridge regression on principal components, with a penalty of its own for each target.

Cross-validation chooses the penalty. It leaves out whole groups where there are groups: samples of
one recording would reveal each other's targets, and the penalty chosen that way would be too small
for new recordings.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.baselines.components import Array, Arrays, measured_together

# of the penalty, relative to the components' total variance of about one
ALPHAS = np.logspace(-7, 1, 17)
N_FOLDS = 5


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
    components: Array,
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
        x = components if len(rows) == len(components) else components[rows]
        found = _fit_together(x, z[np.ix_(rows, columns)], own, counts[rows])
        weight[:, columns], bias[columns], penalties[columns] = found
    model = LinearModel({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return model, float(np.exp(np.log(penalties).mean()))


def _fit_together(
    components: Array, z: Array, groups: NDArray[np.int64] | None, counts: Array
) -> tuple[Array, Array, Array]:
    """Return weight (n, n_targets), bias and penalty (n_targets,) of targets without gaps."""
    errors = np.zeros((len(ALPHAS), z.shape[1]))
    for train, held in folds(len(z), groups):
        fits = _ridge_path(components[train], z[train], counts[train])
        for i, (weight, bias) in enumerate(fits):
            errors[i] += counts[held] @ (components[held] @ weight + bias - z[held]) ** 2
    best = errors.argmin(axis=0)
    path = list(_ridge_path(components, z, counts))
    weight = np.stack([path[i][0][:, k] for k, i in enumerate(best)], axis=1)
    bias = np.stack([path[i][1][k] for k, i in enumerate(best)])
    return weight, bias, ALPHAS[best]


def _ridge_path(x: Array, z: Array, counts: Array) -> Iterator[tuple[Array, Array]]:
    """Yield weight (n, n_targets) and bias (n_targets,) for each of ``ALPHAS``.

    Samples count by ``counts`` (n_samples,).
    """
    x_mean, z_mean = (np.average(each, axis=0, weights=counts) for each in (x, z))
    roots, total = np.sqrt(counts)[:, None], counts.sum()
    centred = x - x_mean
    centred *= roots  # in place: of many samples, each copy is large
    variances, axes = np.linalg.eigh(centred.T @ centred / total)
    seen = axes.T @ (centred.T @ (roots * (z - z_mean))) / total
    for alpha in ALPHAS:
        weight = axes @ (seen / (np.maximum(variances, 0.0) + alpha)[:, None])
        yield weight, z_mean - x_mean @ weight


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
