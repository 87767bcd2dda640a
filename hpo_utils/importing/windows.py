"""Windows: recordings cut into samples of one length and one rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.axes import SAME, same_rate
from hpo_utils.formats.recordings import Recording

MOST_PARTS = (10, 100, 1000, 10_000)  # of the ratio of two rates; the first that is near enough
NEAR = 1e-6  # of the ratio
FASTEST = 1000  # times as fast as recorded
REACH = (
    10  # of the filter to both sides, in samples of the slower rate, as ``resample_poly`` has it
)


def at_rate(recording: Recording, rate: float | None) -> NDArray[np.float64]:
    """Return the values (n_channels, length) at ``rate`` in Hz; None leaves them as they are.

    A polyphase filter keeps faster parts from folding into slower ones. Ends are continued by the
    line through them, since zeros would pull a signal with an offset down. Gaps (NaN) are as wide
    as before, and as the filter reaches.

    Raises
    ------
    DataError
        If the recording does not say its own rate, or the rates have no simple ratio.
    """
    values, own = recording.values, recording.rate
    if rate is None or (own is not None and same_rate(own, rate)):
        return values
    if own is None:
        raise DataError(
            f"a recording must say its rate to be resampled, got {recording.path.name} without one:"
            " leave out --rate, or export it with a column of times"
        )
    up, down = _ratio(rate / own, recording, rate)
    from scipy.signal import resample_poly

    gaps = ~np.isfinite(values)
    filled = _bridged(values, gaps) if gaps.any() else values
    found: NDArray[np.float64] = resample_poly(filled, up, down, axis=1, padtype="line")
    if gaps.any():
        reach = int(np.ceil(REACH * max(1.0, down / up)))
        at = np.round(np.arange(found.shape[1]) * down / up).astype(np.int64)
        at = np.minimum(at, values.shape[1] - 1)
        for channel, missing in zip(found, gaps, strict=True):
            before = np.concatenate([[0], np.cumsum(missing)])  # gaps before each value
            first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(missing))
            channel[before[last] > before[first]] = np.nan
    return found


def _ratio(wanted: float, recording: Recording, rate: float) -> tuple[int, int]:
    """Return whole numbers in the ratio of two rates."""
    ratios = (Fraction(wanted).limit_denominator(most) for most in MOST_PARTS)
    found = [ratio for ratio in ratios if abs(float(ratio) / wanted - 1) <= SAME]
    if not found or wanted > FASTEST:
        raise DataError(
            f"--rate must be from {1 / MOST_PARTS[-1]:g} to {FASTEST} times a recording's own rate,"
            f" got {rate:g} Hz and {recording.rate:g} Hz in {recording.path.name}"
        )
    near = (ratio for ratio in found if abs(float(ratio) / wanted - 1) <= NEAR)
    chosen = next(near, found[-1])
    return chosen.numerator, chosen.denominator


def _bridged(values: NDArray[np.float64], gaps: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return values with lines over the gaps, so that the filter does not spread them."""
    found, at = values.copy(), np.arange(values.shape[1])
    for channel, missing in zip(found, gaps, strict=True):
        known = ~missing
        channel[missing] = np.interp(at[missing], at[known], channel[known]) if known.any() else 0.0
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
