"""From the spread of an ensemble's members to intervals: two constants a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.data.scaling import TINY


@dataclass(frozen=True)
class Calibration:
    """Constants that convert the members' spread to interval half widths, for each target.

    The half width is ``factors`` times sqrt(spread² + ``residual``²). ``residual`` is the root mean
    square error of the calibration samples, in the target's unit. It is needed because a few
    members sometimes agree by chance where they are no more accurate than elsewhere. ``joint``
    takes the place of all factors in intervals that hold for all targets of a sample at once; None
    in bundles of version 0.3 and earlier.
    """

    factors: list[float]
    residual: list[float]
    has_spread: bool = True  # whether it was known of the calibration samples, and counts
    joint: float | None = None
    # targets whose errors are of the natural logarithm; their half widths grow with what is
    # predicted, and reach as far down as up, which is further than they need
    logarithmic: list[int] = field(default_factory=list)

    def half_width(self, spread: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the half widths of the intervals about predictions ``y``, with their spreads.

        All have shape (n_samples, n_targets) and are in the targets' units.
        """
        return self._in_units(self._size(spread, y) * self.factors, y)

    def joint_half_width(self, spread: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64] | None:
        """Return half widths within which all targets of a sample lie at once."""
        if self.joint is None:
            return None
        return self._in_units(self._size(spread, y) * self.joint, y)

    def _size(self, spread: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        known = spread if self.has_spread else np.zeros_like(spread)
        size: NDArray[np.float64] = np.hypot(
            relative_spread(known, y, self.logarithmic), self.residual
        )
        return size

    def _in_units(self, width: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.float64]:
        for k in self.logarithmic:
            width[:, k] = y[:, k] * np.expm1(width[:, k])
        return width


def relative_spread(
    spread: NDArray[Any], y: NDArray[Any], logarithmic: Sequence[int]
) -> NDArray[np.float64]:
    """Return spreads or half widths about predictions ``y``, as shares of them if logarithmic."""
    found = spread.astype(np.float64)
    for k in logarithmic:
        found[:, k] /= np.maximum(y[:, k], TINY)
    return found


def reach_of(domain: NDArray[Any]) -> NDArray[np.float64]:
    """Return by how much the intervals of samples (n_samples,) are wider outside of the domain.

    ``domain`` (n_samples, 3) are their distances over the limits. Outside, the error grows with the
    distance, at least linearly; no sample there has told how fast, so the intervals do, too.
    """
    return np.asarray(np.sqrt(np.maximum(1.0, domain.max(axis=1))), dtype=np.float64)
