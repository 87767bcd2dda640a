"""The yardstick: the one score by which all trials of a study are compared; lower is better.

It does not depend on a trial's loss, target weights or batches, so scores of different trials are
comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError
from hpo_utils.scores.metrics import varies

NAMES = {
    "mse": "validation MSE of standardised targets",
    "mae": "validation MAE of standardised targets",
    "r2": "validation 1 - mean R²",
}


@dataclass(frozen=True)
class Yardstick:
    """A score of standardised predictions.

    Parameters
    ----------
    kind
        ``mse`` and ``mae``: mean over samples and targets. ``r2``: one minus the mean of the
        targets' R², which weighs all targets equally, whatever their spread in the part.
    target
        Number of the only target that is scored; None for all.
    name
        Name of the score wherever it is displayed.
    """

    kind: str
    target: int | None
    name: str

    def __call__(self, z_pred: Tensor, z_true: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the scalar score of two tensors of shape (n_samples, n_targets)."""
        return self.of_samples(z_pred, z_true, weights).mean()

    def of_samples(self, z_pred: Tensor, z_true: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the contribution of each sample (n_samples,); the score is their mean.

        Each target counts by the samples in which it was measured, where ``z_true`` is not NaN,
        and each sample by its weight, one unless ``weights`` (n_samples,) are given.
        """
        if self.target is not None:
            k = slice(self.target, self.target + 1)
            z_pred, z_true = z_pred[:, k], z_true[:, k]
        error = z_pred - z_true
        errors = error.abs() if self.kind == "mae" else error.square()
        known = ~z_true.isnan()
        count = known if weights is None else known * weights[:, None]  # (n_samples, n_targets)
        if self.kind == "r2":  # 1 - mean over k of (1 - MSE_k / variance_k)
            errors = errors / _variance(z_true, count)
        if weights is None and bool(known.all()):
            return errors.mean(1)
        counts = count.sum(0)  # (n_targets,)
        shares = torch.where(known, errors * count * (len(errors) / counts), errors.new_zeros(()))
        return shares.sum(1) / (counts > 0).sum()


def _variance(z: Tensor, count: Tensor) -> Tensor:
    """Return the variance of each target (n_targets,), where values count by ``count``.

    It has the shape of ``z``, and is zero or False where a target was not measured.
    """
    if count.dtype == torch.bool and bool(count.all()):
        return z.var(0, correction=0)
    values, total = z.nan_to_num(), count.sum(0)
    mean = (values * count).sum(0) / total
    return ((values - mean).square() * count).sum(0) / total


def check_target(cfg: Config, target_names: Sequence[str]) -> None:
    """Raise ConfigError unless ``evaluation.target`` is one of the targets."""
    if cfg.evaluation.target not in (None, *target_names):
        raise ConfigError(
            f"evaluation.target must be one of {', '.join(target_names)}, got"
            f" {cfg.evaluation.target!r}"
        )


def create_yardstick(
    cfg: Config, target_names: Sequence[str], y_val: NDArray[np.float32]
) -> Yardstick:
    """Return the yardstick set by ``evaluation.score`` and ``evaluation.target``.

    ``y_val`` are the targets of the validation part, of shape (n_samples, n_targets).

    Raises
    ------
    ConfigError
        If the data have no target of that name, or a scored target is constant and has no R² or
        was not measured.
    """
    kind, wanted = cfg.evaluation.score, cfg.evaluation.target
    name, names = NAMES[kind], list(target_names)
    scored = [k for k, target in enumerate(names) if wanted in (None, target)]
    if scored and not np.isfinite(y_val[:, scored]).any():
        raise ConfigError(
            "the targets that are scored must have been measured in the validation part, but"
            f" {wanted or names[0]!r} was not: choose another split, or fewer parts that validate"
        )
    for k, target in enumerate(names):
        if kind == "r2" and wanted in (None, target) and not varies(y_val)[k]:
            raise ConfigError(
                "evaluation.score r2 must have targets that vary in the validation part, but"
                f" {target!r} is constant there: choose mse or mae, or another split"
            )
    if wanted is None:
        return Yardstick(kind, None, name)
    check_target(cfg, names)
    return Yardstick(kind, names.index(wanted), f"{name}, {wanted} alone")
