"""Detection of samples outside a model's training range, whose predictions are guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hpo_utils.data.features import channel_statistics
from hpo_utils.data.scaling import in_blocks

MARGIN = 0.25  # accepted distance beyond a statistic's training range, as a share of that range
MIN_MARGIN = 0.1  # standard deviations of the channel; for statistics that hardly varied


@dataclass(frozen=True)
class KnownRange:
    """Range of each channel's statistics over the samples of a training part.

    A different gain or offset, more noise or a dead sensor moves a statistic out of this range. In
    the demo, doubling or halving the gain flags every sample of the test part; without a change,
    none is flagged. Where samples differ strongly among themselves, like spectra of meat, fewer
    changes are detected.

    Parameters
    ----------
    low, high
        Bounds of ``features.channel_statistics``, each of length n_statistics * n_channels.
    """

    low: list[float]
    high: list[float]

    @classmethod
    def of(cls, x: NDArray[Any]) -> Self:
        """Return the range over standardised inputs (n_samples, n_channels, L or H, W)."""
        statistics = [channel_statistics(block) for block in in_blocks(x)]
        low, high = (
            extreme([extreme(each, axis=0) for each in statistics], axis=0)
            for extreme in (np.min, np.max)
        )
        return cls(low.tolist(), high.tolist())

    def leaves_out(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask (n_samples,) of standardised inputs (n_samples, ...) outside the range."""
        low, high = np.array(self.low), np.array(self.high)
        margin = np.maximum(MARGIN * (high - low), MIN_MARGIN)
        statistics = np.concatenate([channel_statistics(block) for block in in_blocks(x)])
        return np.asarray(((statistics < low - margin) | (statistics > high + margin)).any(axis=1))
