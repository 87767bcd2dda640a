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


def fit_pls(
    components: Array,
    z: Array,
    groups: NDArray[np.int64] | None,
    weights: NDArray[np.float32] | None = None,
) -> LinearModel:
    """Return partial least squares, one for each target of ``z`` (n_samples, n_targets).

    NaN in ``z`` stands for what was not measured; ``weights`` (n_samples,) say how much each sample
    counts, None: all alike.
    """
    found = []
    for target in z.T:
        known = np.flatnonzero(~np.isnan(target))
        own = None if groups is None else groups[known]
        counts = None if weights is None else weights[known]
        found.append(_fit_one(components[known], target[known], own, counts))
    slopes, biases = np.stack([w for w, _ in found], 1), np.array([b for _, b in found])
    return LinearModel({"weight": torch.from_numpy(slopes), "bias": torch.from_numpy(biases)})


def _fit_one(
    components: Array,
    z: Array,
    groups: NDArray[np.int64] | None,
    counts: NDArray[np.float32] | None,
) -> tuple[Array, float]:
    """Return weight (n,) and bias for one target (n_samples,), of the best number of latent."""
    splits = list(folds(len(z), groups))
    fewest = min(len(train) for train, _ in splits)
    if fewest < 2:  # of two samples: their mean
        return np.zeros(components.shape[1]), float(np.average(z, weights=counts))
    latent = [n for n in LATENT if n <= min(components.shape[1], fewest - 1)] or [1]
    errors = [0.0] * len(latent)
    for train, held in splits:
        own, by = (None, 1.0) if counts is None else (counts[train], counts[held])
        for i, (weight, bias) in enumerate(_pls_path(components[train], z[train], latent, own)):
            errors[i] += float((by * (components[held] @ weight + bias - z[held]) ** 2).sum())
    return next(_pls_path(components, z, [latent[int(np.argmin(errors))]], counts))


def _pls_path(
    x: Array, z: Array, latent: list[int], counts: NDArray[np.float32] | None = None
) -> Iterator[tuple[Array, float]]:
    """Yield weight (n,) and bias for each number of latent variables.

    The first latent variables are the same, however many follow. Samples count by ``counts``
    (n_samples,).
    """
    from sklearn.cross_decomposition import PLSRegression  # slow, and not needed to predict

    x_mean, z_mean = np.average(x, axis=0, weights=counts), np.average(z, weights=counts)
    seen_x, seen_z = x, z
    if counts is not None:
        # the library knows no weights, and centres what it gets: each deviation, by the root of its
        # weight, stands beside its negative
        root = np.sqrt(counts, dtype=np.float64)
        seen_x, seen_z = root[:, None] * (x - x_mean), root * (z - z_mean)
        seen_x, seen_z = np.vstack([seen_x, -seen_x]), np.concatenate([seen_z, -seen_z])
    with warnings.catch_warnings():  # once nothing of z is left, further variables are zero
        warnings.filterwarnings("ignore", "y residual is constant", UserWarning)
        model = PLSRegression(max(latent), scale=False).fit(seen_x, seen_z)
    for n in latent:
        rotations, loadings = model.x_rotations_[:, :n], model.y_loadings_[0, :n]
        weight = rotations @ loadings
        yield weight, float(z_mean - x_mean @ weight)
