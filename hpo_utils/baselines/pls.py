"""Partial least squares on principal components, with its own latent variables for each target.

Cross-validation chooses their number, as it does the penalty of ridge regression.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hpo_utils.baselines.components import Array
from hpo_utils.baselines.linear import LinearModel, folds

LATENT = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)  # candidate numbers of latent variables


def fit_pls(components: Array, z: Array, groups: NDArray[np.int64] | None) -> LinearModel:
    """Return partial least squares, one for each target of ``z`` (n_samples, n_targets).

    NaN in ``z`` stands for what was not measured.
    """
    found = []
    for target in z.T:
        known = np.flatnonzero(~np.isnan(target))
        own = None if groups is None else groups[known]
        found.append(_fit_one(components[known], target[known], own))
    weights, biases = np.stack([w for w, _ in found], 1), np.array([b for _, b in found])
    return LinearModel({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(biases)})


def _fit_one(components: Array, z: Array, groups: NDArray[np.int64] | None) -> tuple[Array, float]:
    """Return weight (n,) and bias for one target (n_samples,), of the best number of latent."""
    splits = list(folds(len(z), groups))
    fewest = min(len(train) for train, _ in splits)
    latent = [n for n in LATENT if n <= min(components.shape[1], fewest - 1)] or [1]
    errors = [0.0] * len(latent)
    for train, held in splits:
        for i, (weight, bias) in enumerate(_pls_path(components[train], z[train], latent)):
            errors[i] += float(((components[held] @ weight + bias - z[held]) ** 2).sum())
    return next(_pls_path(components, z, [latent[int(np.argmin(errors))]]))


def _pls_path(x: Array, z: Array, latent: list[int]) -> Iterator[tuple[Array, float]]:
    """Yield weight (n,) and bias for each number of latent variables.

    The first latent variables are the same, however many follow.
    """
    from sklearn.cross_decomposition import PLSRegression  # slow, and not needed to predict

    with warnings.catch_warnings():  # once nothing of z is left, further variables are zero
        warnings.filterwarnings("ignore", "y residual is constant", UserWarning)
        model = PLSRegression(max(latent), scale=False).fit(x, z)
    for n in latent:
        rotations, loadings = model.x_rotations_[:, :n], model.y_loadings_[0, :n]
        weight = rotations @ loadings
        yield weight, float(z.mean() - x.mean(axis=0) @ weight)
