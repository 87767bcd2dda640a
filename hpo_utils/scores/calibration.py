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
    members sometimes agree by chance where they are no more accurate than elsewhere.
    """

    factors: list[float]
    residual: list[float]
    has_spread: bool = True  # whether it was known of the calibration samples, and counts

    def half_width(self, spread: NDArray[Any]) -> NDArray[np.float64]:
        """Return the half widths of the intervals for spreads (n_samples, n_targets)."""
        known = spread if self.has_spread else np.zeros_like(spread)
        half_width: NDArray[np.float64] = np.hypot(known, self.residual) * self.factors
        return half_width
