"""Physics known to the user: fractions that sum to one, quantities that cannot be negative.

The configuration states both for named targets. They are checked in the measured targets and
enforced by the network, whose last layer cannot predict anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.base.errors import DataError
from hpo_utils.data.scaling import Standardizer

MIN_MEAN = 1e-30  # smallest mean of a fraction; its logarithm must be finite
TOLERANCE = 0.01  # of measured fractions and their sum; below zero, in standard deviations
MIN_LEVEL = 1e-4  # smallest mean of a non-negative target, in its standard deviations
TARGET_RULES = NEGATIVE, NO_FRACTION = "{name} below 0", "{name} outside [0, 1]"
WRONG_SUM = "fractions do not sum to 1 ± {x}"


@dataclass(frozen=True)
class Physics:
    """Numbers of the targets that are fractions of one whole, and of those that cannot be negative.

    A single fraction lies in [0, 1]; the rest of the whole is then unnamed. The output layer raises
    smaller training means of a fraction to ``min_mean``.
    """

    fractions: tuple[int, ...] = ()
    non_negative: tuple[int, ...] = ()
    min_mean: float = MIN_MEAN

    def bounds(self, n_targets: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and the upper bound of each target, infinite if none is known."""
        lowest, highest = np.full(n_targets, -np.inf), np.full(n_targets, np.inf)
        lowest[[*self.fractions, *self.non_negative]] = 0.0
        highest[[*self.fractions]] = 1.0
        return lowest, highest

    def __bool__(self) -> bool:
        """Whether any target has a known rule."""
        return bool(self.fractions or self.non_negative)


def find_physics(
    target_names: Sequence[str], fractions: Sequence[str], non_negative: Sequence[str]
) -> Physics:
    """Return the physics of targets given by name.

    Raises
    ------
    DataError
        If a name is not that of a target, or is given twice.
    """
    numbers = {name: k for k, name in enumerate(target_names)}
    for key, names in (("fractions", fractions), ("non_negative", non_negative)):
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"dataset.{key} must name each target once, got {name!r} twice")
            if name not in numbers:
                raise DataError(
                    f"dataset.{key} must name targets of {', '.join(target_names)}, got {name!r}"
                )
    return Physics(
        tuple(numbers[name] for name in fractions), tuple(numbers[name] for name in non_negative)
    )


def check_targets(y: NDArray[Any], physics: Physics, target_names: Sequence[str]) -> None:
    """Raise DataError if measured targets (n_samples, n_targets) contradict the physics.

    NaN stands for a value that was not measured; a sum needs all of its fractions.
    """
    for k in physics.non_negative:
        lowest = np.nanmin(y[:, k])
        if lowest < -TOLERANCE * np.nanstd(y[:, k]):
            raise DataError(
                f"dataset.non_negative must name targets without negative values, got"
                f" {lowest:g} for {target_names[k]!r} in sample {np.nanargmin(y[:, k])}: take it"
                " off the list or correct the sample"
            )
    if not physics.fractions:
        return
    shares = y[:, list(physics.fractions)].astype(np.float64)
    outside = np.nan_to_num(np.maximum(-shares, shares - 1.0)).max(axis=1)
    sums = np.nan_to_num(shares.sum(axis=1), nan=1.0)
    astray = np.abs(sums - 1.0) if len(physics.fractions) > 1 else outside
    worst = int(np.maximum(outside, astray).argmax())
    if max(outside[worst], astray[worst]) > TOLERANCE:
        raise DataError(
            "dataset.fractions must name targets in [0, 1] that sum to one, got"
            f" {', '.join(f'{share:g}' for share in shares[worst])} (sum {shares[worst].sum():g})"
            f" in sample {worst}: {_remedy(shares[np.isfinite(shares).all(axis=1)])}"
        )


def _remedy(shares: NDArray[np.float64]) -> str:
    """Return advice for targets (n_samples, n_fractions) that are not fractions of one."""
    if not len(shares):
        return "take them off the list or correct the sample"
    whole = shares.sum(axis=1)
    if shares.shape[1] == 1:  # percent if the values fit
        unit = 100.0 if 2.0 < shares.max() <= 100.0 * (1 + TOLERANCE) else 0.0
    else:
        unit = float(np.median(whole))
        unit = float(f"{unit:.2g}") if np.abs(whole / unit - 1.0).max() <= TOLERANCE else 0.0
    if unit > 1.0 and shares.min() >= -TOLERANCE * unit:
        percent = ", as they are in percent" if unit == 100.0 else ""
        return f"divide them by {unit:g}{percent}"
    return "take them off the list or correct the sample"


def check_positive(
    targets: NDArray[np.float32], logarithmic: Sequence[int], names: list[str]
) -> None:
    """Raise DataError unless the ``logarithmic`` targets are positive where they were measured."""
    for k in logarithmic:
        wrong = np.flatnonzero(targets[:, k] <= 0)
        if len(wrong):
            raise DataError(
                f"target {names[k]!r} must be above zero to have a logarithm"
                f" (dataset.logarithmic), but is {targets[wrong[0], k]:g} in sample {wrong[0]}"
            )


def violations(
    y_pred: NDArray[Any], physics: Physics, target_names: Sequence[str]
) -> dict[str, float]:
    """Return for each rule the share of predictions (n_samples, n_targets) that violate it."""
    broken: dict[str, float] = {}
    for k in physics.non_negative:
        broken[NEGATIVE.format(name=target_names[k])] = float((y_pred[:, k] < 0).mean())
    for k in physics.fractions:
        outside = (y_pred[:, k] < 0) | (y_pred[:, k] > 1)
        broken[NO_FRACTION.format(name=target_names[k])] = float(outside.mean())
    if len(physics.fractions) > 1:
        total = y_pred[:, list(physics.fractions)].sum(axis=1)
        broken[WRONG_SUM.format(x=TOLERANCE)] = float((np.abs(total - 1.0) > TOLERANCE).mean())
    return broken


def in_units(z: NDArray[np.float32], scaler: Standardizer, physics: Physics) -> NDArray[np.float32]:
    """Convert standardised predictions (n_samples, n_targets) to the targets' units.

    Clipping makes ``physics`` hold to the last digit, despite rounding.
    """
    lowest, highest = physics.bounds(z.shape[-1])
    y: NDArray[np.float32] = np.clip(scaler.inverse(z), lowest, highest).astype(np.float32)
    return y


def obeying(y: NDArray[np.float64], physics: Physics) -> NDArray[np.float32]:
    """Return predictions (..., n_targets) within their bounds, with fractions that sum to one."""
    lowest, highest = physics.bounds(y.shape[-1])
    kept = np.clip(y, lowest, highest)
    if len(physics.fractions) > 1:
        shares = kept[..., list(physics.fractions)]
        kept[..., list(physics.fractions)] = shares / np.maximum(
            shares.sum(axis=-1, keepdims=True), MIN_MEAN
        )
    obedient: NDArray[np.float32] = kept.astype(np.float32)
    return obedient


def active_physics(cfg: Config, physics: Physics) -> Physics:
    """Return the physics that a network enforces: all of it, or none."""
    return physics if cfg.model.constrain_outputs else Physics()
