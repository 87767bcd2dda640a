"""Calibrated prediction intervals from the spread of an ensemble's members."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hpo_utils.scores.calibration import Calibration
from hpo_utils.scores.intervals import count_units
from hpo_utils.scores.skill import Array


class Coverage(TypedDict):
    """Coverage of the prediction intervals of one target on the test part."""

    calibrated: float  # share of samples inside the calibrated intervals
    half_width: float  # median half width, in the target's unit
    plain: float  # share inside if the intervals used the members' spread alone


def calibrate_spread(
    y_true: Array, members: Array, confidence: float, units: NDArray[np.int64] | None = None
) -> Calibration:
    """Calibrate intervals around the members' mean to contain ``confidence`` of the given samples.

    The method is split conformal prediction with a normalised score (Lei et al., J. Am. Stat.
    Assoc. 113 (2018), 1094-1111, sec. 5.2). ``units`` is the unit number of each sample. Errors of
    one unit are correlated, so the rank of the quantile is computed for the effective number of
    units and then scaled to samples. Without a second member there is no spread: all intervals are
    of one width.
    """
    error = np.abs(members.mean(axis=0, dtype=np.float64) - y_true)
    residual = np.sqrt((error**2).mean(axis=0))
    normalised = error / np.maximum(np.hypot(_spread(members), residual), np.finfo(np.float64).tiny)
    n_units = count_units(len(error), units)
    held = min(int(np.ceil((n_units + 1) * confidence)), n_units)  # units
    rank = -(-held * len(error) // n_units)  # samples, rounded up
    factors = np.sort(normalised, axis=0)[rank - 1]
    return Calibration(factors.tolist(), residual.tolist(), len(members) > 1)


def coverage(
    y_true: Array, members: Array, calibration: Calibration, confidence: float
) -> list[Coverage]:
    """Return the coverage of intervals of nominal level ``confidence`` for each target.

    ``calibrated``: share of the given samples inside; ``half_width``: median half width, in the
    target's unit; ``plain``: share inside if the members' spread were the standard deviation of a
    normal error.
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
    return np.asarray(members.std(axis=0, ddof=int(len(members) > 1), dtype=np.float64))
