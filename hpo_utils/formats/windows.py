"""Windows: recordings cut into samples of one length and one rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.recordings import Recording

MOST_PARTS = 1000  # of the ratio of two rates


def at_rate(recording: Recording, rate: float | None) -> NDArray[np.float64]:
    """Return the values (n_channels, length) at ``rate`` in Hz; None leaves them as they are.

    A polyphase filter keeps faster parts from folding into slower ones. Ends are continued by the
    line through them, since zeros would pull a signal with an offset down.

    Raises
    ------
    DataError
        If the recording does not say its own rate.
    """
    if rate is None or recording.rate == rate:
        return recording.values
    if recording.rate is None:
        raise DataError(
            f"a recording must say its rate to be resampled, got {recording.path.name} without one:"
            " leave out --rate, or export it with a column of times"
        )
    from scipy.signal import resample_poly

    ratio = Fraction(rate / recording.rate).limit_denominator(MOST_PARTS)
    found: NDArray[np.float64] = resample_poly(
        recording.values, ratio.numerator, ratio.denominator, axis=1, padtype="line"
    )
    return found


def cut(values: NDArray[np.float64], window: int, step: int) -> tuple[NDArray[np.float64], int]:
    """Cut values (n_channels, length) into windows; return them and the number of dropped ones.

    Returns
    -------
    float64 array of shape (n_windows, n_channels, window)
        The windows that are whole and have no gap (NaN). What is left at the end is not used.
    int
        How many had a gap.
    """
    if values.shape[1] < window:
        return np.empty((0, len(values), window)), 0
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=1)[:, ::step]
    found = views.transpose(1, 0, 2)
    whole = np.isfinite(found).all(axis=(1, 2))
    return found[whole], int((~whole).sum())
