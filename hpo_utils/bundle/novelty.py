"""Is a sample unlike all that a model was trained on? Then its prediction is a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hpo_utils.data.features import channel_statistics
from hpo_utils.data.scaling import in_blocks

MARGIN = 0.25  # of the range that a statistic had in training: so far beyond it, a sample is new
MIN_MARGIN = 0.1  # standard deviations of the channel, where a statistic hardly varied


@dataclass(frozen=True)
class KnownRange:
    """The range of each channel's statistics over the samples of a training part.

    Another gain or offset, more noise, a dead sensor move a statistic out of it. Of the demo, twice
    or half the gain is told of every sample of the test part, and as it is, nothing of any; where
    samples differ much among themselves, as spectra of meat do, less is told.

    Parameters
    ----------
    low, high
        Of ``features.channel_statistics``, each of length n_statistics * n_channels.
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
        """Return which of the standardised inputs (n_samples, ...) lie outside, (n_samples,)."""
        low, high = np.array(self.low), np.array(self.high)
        margin = np.maximum(MARGIN * (high - low), MIN_MARGIN)
        statistics = np.concatenate([channel_statistics(block) for block in in_blocks(x)])
        return np.asarray(((statistics < low - margin) | (statistics > high + margin)).any(axis=1))
