"""From the spread of an ensemble's members to intervals: two constants a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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

    def half_width(self, spread: NDArray[Any]) -> NDArray[np.float64]:
        """Return the half widths of the intervals for spreads (n_samples, n_targets)."""
        half_width: NDArray[np.float64] = self._size(spread) * self.factors
        return half_width

    def joint_half_width(self, spread: NDArray[Any]) -> NDArray[np.float64] | None:
        """Return half widths within which all targets of a sample lie at once."""
        return None if self.joint is None else self._size(spread) * self.joint

    def _size(self, spread: NDArray[Any]) -> NDArray[np.float64]:
        known = spread if self.has_spread else np.zeros_like(spread)
        size: NDArray[np.float64] = np.hypot(known, self.residual)
        return size
