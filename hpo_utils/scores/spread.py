"""What the spread of an ensemble's members says of its error, calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.skill import Array


class Coverage(TypedDict):
    """How the intervals of one target's predictions do on the test part."""

    calibrated: float  # the share that they hold
    half_width: float  # their median, in the target's unit
    plain: float  # the share that they would hold by the members' spread alone


def calibrate_spread(
    y_true: Array, members: Array, confidence: float, units: NDArray[np.int64] | None = None
) -> Calibration | None:
    """Return intervals around the members' mean that hold ``confidence`` of the given samples.

    By split conformal prediction with a normalised score (Lei et al., J. Am. Stat. Assoc. 113
    (2018), 1094-1111, sec. 5.2), at the rank that as many samples have as there are ``units``, by
    sample: those of a unit err together. None with fewer than two members.
    """
    if len(members) < 2:
        return None
    error = np.abs(members.mean(axis=0, dtype=np.float64) - y_true)
    residual = np.sqrt((error**2).mean(axis=0))
    normalised = error / np.maximum(np.hypot(_spread(members), residual), np.finfo(np.float64).tiny)
    n_units = count_units(len(error), units)
    held = min(int(np.ceil((n_units + 1) * confidence)), n_units)  # units
    rank = -(-held * len(error) // n_units)  # samples, rounded up
    factors = np.sort(normalised, axis=0)[rank - 1]
    return Calibration(factors.tolist(), residual.tolist())


def coverage(
    y_true: Array, members: Array, calibration: Calibration, confidence: float
) -> list[Coverage]:
    """Return for each target how intervals of nominally ``confidence`` do on the given samples.

    ``calibrated``: the share that they hold; ``half_width``: their median, in the target's unit;
    ``plain``: the share that they would hold if the members' spread were taken for the standard
    deviation of a normal error.
    """
    error, spread = np.abs(members.mean(axis=0) - y_true), _spread(members)
    half_width = calibration.half_width(spread)
    normal = float(stats.norm.ppf((1 + confidence) / 2))
    found = zip(
        (error <= half_width).mean(axis=0),
        np.median(half_width, axis=0),
        (error <= normal * spread).mean(axis=0),
        strict=True,
    )
    return [
        {"calibrated": float(held), "half_width": float(width), "plain": float(plain)}
        for held, width, plain in found
    ]


def _spread(members: Array) -> NDArray[np.float64]:
    """Return the standard deviation of the members, of shape (n_samples, n_targets)."""
    return np.asarray(members.std(axis=0, ddof=1, dtype=np.float64))


@dataclass(frozen=True)
class Calibration:
    """What makes intervals of the members' spread, for each target.

    The half width is ``factors`` times the root of the squares' sum of spread and ``residual``, the
    root mean square error of the calibrating samples, in the target's unit: few members agree by
    chance here and there, where they are no surer than elsewhere.
    """

    factors: list[float]
    residual: list[float]

    def half_width(self, spread: NDArray[Any]) -> NDArray[np.float64]:
        """Return the intervals' half width for spreads (n_samples, n_targets)."""
        half_width: NDArray[np.float64] = np.hypot(spread, self.residual) * self.factors
        return half_width
