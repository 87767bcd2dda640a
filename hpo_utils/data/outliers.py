"""Detection of codes among measurements: far values such as -9999 for *not measured*.

A gap without values before it distinguishes a code from a heavy tail. Distances from the median are
counted in bins of an eighth of an octave, over all values of a feature; values beyond a gap are
far. How wide the gap must be depends on the other evidence for a code: it is a well-known code or a
limit of its number format, or it repeats although no other value does. Real tails, such as that of
a log-normal distribution over five decades, thin out without such a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.data.scaling import in_blocks

# distance from the median relative to the farthest other value: known codes, repeats, any value
CODE_RATIO, REPEATED_RATIO, ANY_RATIO = 2.0, 5.0, 30.0
MIN_REPEATS = 3
ACCEPT = "pass accept_outliers=True (--accept-outliers)"
KNOWN_REACH = 10.0  # standard deviations from the mean that training values usually reach
MAX_CODES, MAX_OTHERS = 0.5, 0.05  # largest shares of far values: codes and repeats, any value
MAX_BULK = 100_000  # maximum number of values used for the median
STEPS = 8  # bins per octave: the leading three bits of the mantissa
N_BINS = 2**11 * STEPS  # covers all exponents of float64
# limits of number formats, and fill values of file formats for missing measurements: 9.97e36 in
# NetCDF, 9.999e20 in WMO's GRIB, 1e20 and 1e30 in CF and IDL, -999.25 in LAS
KNOWN = np.array([
    -(2.0**15), 2.0**15 - 1, 2.0**16 - 1, -(2.0**31), 2.0**31 - 1, 2.0**32 - 1, -(2.0**63),
    2.0**63 - 1, 2.0**64 - 1, 9.969209968386869e36, 1e20, -1e20, 9.999e20, 1e30, -1e30, 1e31, 1e34,
    -1e34, 1e35, 1e36, 1e37, 1e38, -1e38, 3.4028234663852886e38, -3.4028234663852886e38, -999.25,
    999.25, -9999.25, -99.0,
])  # fmt: skip


class FarValues:
    """Distances of the values of each feature from its bulk, collected piece by piece.

    Parameters
    ----------
    bulk
        Values of shape (n_samples, n_features, ...) whose median is the centre of each feature.
    reach
        Distance from the centre within which a value always counts as near, of shape (n_features,),
        in the feature's unit; given if the bulk is known from elsewhere.
    centre
        The centre, if it is known from elsewhere.
    """

    def __init__(
        self,
        bulk: NDArray[Any],
        reach: NDArray[np.float64] | None = None,
        centre: NDArray[np.float64] | None = None,
    ) -> None:
        self.dtype, n_features = bulk.dtype, bulk.shape[1]
        thin = [row[~np.isnan(row)] for row in _thinned(bulk)]  # (n_values,) of each feature
        self.centre = np.array([_median(row) for row in thin]) if centre is None else centre
        self.reach = np.zeros(n_features) if reach is None else reach
        self._typical = np.array(
            [_median(np.abs(row - middle)) for row, middle in zip(thin, self.centre, strict=True)]
        )
        self._distinct = np.array([len(np.unique(row)) / max(len(row), 1) for row in thin])
        self._counts = np.zeros((n_features, N_BINS), dtype=np.int64)
        self._low: list[NDArray[np.float64]] = []  # minimum per sample, (n_samples, n_features)
        self._high: list[NDArray[np.float64]] = []

    def update(self, values: NDArray[Any]) -> None:
        """Take in ``values`` of shape (n_samples, n_features, ...); NaN is never far."""
        for block in in_blocks(values):
            # (n_samples, n_features, ...) -> (n_samples, n_features, n_values)
            flat = np.asarray(block, dtype=np.float64).reshape(*block.shape[:2], -1)
            if (gaps := np.isnan(flat)).any():
                flat = np.where(gaps, self.centre[:, None], flat)
            self._low.append(flat.min(axis=2))
            self._high.append(flat.max(axis=2))
            distance = np.abs(flat - self.centre[:, None])
            bins = _bin_of(distance)
            for k, counts in enumerate(self._counts):
                counts += np.bincount(bins[:, k].ravel(), minlength=N_BINS)

    def find(self, feature: int) -> tuple[int, float, int] | None:
        """Return number and value of the first sample with a far value, and how many are far.

        Return None if there is no far value.
        """
        low, high = (np.concatenate(each)[:, feature] for each in (self._low, self._high))
        below_centre, above_centre = self.centre[feature] - low, high - self.centre[feature]
        distance = np.maximum(below_centre, above_centre)
        farthest = np.where(below_centre > above_centre, low, high)  # value per sample
        below = low < 0
        if below.any() and below.mean() <= MAX_CODES and is_code(low[below], self.dtype).all():
            first = int(below.argmax())  # all negative values are codes
            return first, float(low[first]), int(below.sum())
        counts = self._counts[feature]
        filled, bins = np.flatnonzero(counts), _bin_of(distance)
        for near, far in pairwise(filled.tolist()):
            # bin 0 holds values equal to the centre: their reach is 0
            reach = max(_lower_edge(near + 1) if near else 0.0, self.reach[feature])
            if _lower_edge(far) <= CODE_RATIO / 2**0.25 * reach:
                continue
            beyond, values = int(counts[far:].sum()), farthest[bins >= far]
            if len(values) and self._is_far(feature, values, beyond, reach, low, high, distance):
                first = int(np.flatnonzero(bins >= far)[0])
                return first, float(farthest[first]), beyond
        return None

    def _is_far(
        self,
        feature: int,
        values: NDArray[np.float64],
        beyond: int,
        reach: float,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        distance: NDArray[np.float64],
    ) -> bool:
        """Return whether ``values``, the farthest of each sample, are codes or implausible."""
        nearest = float(np.abs(values - self.centre[feature]).min())
        share = beyond / int(self._counts[feature].sum())
        if share > MAX_CODES or nearest <= CODE_RATIO * reach:
            return False
        if is_code(values, self.dtype).all():
            return True
        is_zero = np.isclose(values, 0.0, atol=1e-6 * nearest).any()
        repeated = beyond >= MIN_REPEATS and np.ptp(values) <= 1e-6 * nearest and not is_zero
        if (
            repeated
            and reach > 0
            and self._distinct[feature] > 0.5
            and nearest > REPEATED_RATIO * reach
        ):
            return True
        if share > MAX_OTHERS or nearest <= ANY_RATIO * reach or reach == 0:
            return False
        near = distance < nearest
        return self._thins_out_before(feature, reach, nearest) and _apart_in_decades(
            np.concatenate([low[near], high[near]]), values
        )

    def _thins_out_before(self, feature: int, reach: float, nearest: float) -> bool:
        """Return whether the gap is longer than the tail before it, on a log scale."""
        typical = max(self._typical[feature], self.reach[feature], np.finfo(np.float64).tiny)
        tail, far = np.arcsinh(reach / typical), np.arcsinh(nearest / typical)
        return bool(far - tail > tail)


def _apart_in_decades(rest: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Return whether values lie farther from the rest than the rest is wide, in decades.

    Decided only if all have the same sign, as with concentrations that lie decades apart; otherwise
    True.
    """
    together = np.concatenate([rest, values])
    if not ((together > 0).all() or (together < 0).all()):
        return True
    inside, outside = np.log(np.abs(rest)), np.log(np.abs(values))
    gap = max(outside.min() - inside.max(), inside.min() - outside.max())
    return bool(gap > np.ptp(inside))


def is_code(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return which values commonly stand for *not measured* or are limits of their format."""
    ends = KNOWN
    if dtype.kind in "iu" and dtype.itemsize > 1:  # 8-bit images reach both limits
        info = np.iinfo(dtype)
        ends = np.append(KNOWN, [float(info.min), float(info.max)] if info.min else [info.max])
    with np.errstate(over="ignore"):
        known = np.isclose(values[:, None], ends, rtol=1e-4, atol=0).any(axis=1)
    digits = [str(abs(int(v))) if abs(v) < 1e9 and v == int(v) else "" for v in values]
    nines = [len(d) >= 3 and len(set(d)) == 1 and d[0] in "789" for d in digits]
    return np.asarray(known | np.array(nines, dtype=bool))


def is_missing(values: NDArray[Any], codes: Sequence[float]) -> NDArray[np.bool_]:
    """Return which values are one of the ``codes`` for what was not measured; NaN may be one."""
    found = np.zeros(values.shape, dtype=bool)
    for code in codes:
        if np.isnan(code):
            found |= np.isnan(values) if values.dtype.kind == "f" else False
            continue
        with np.errstate(over="ignore"):  # float32 rounds a code, such as 1e20, or has none
            found |= (values == code) | (values == np.float32(code))
    return found


def without_codes(values: NDArray[Any], codes: Sequence[float]) -> NDArray[Any]:
    """Return values with NaN in place of the ``codes``; without codes, the values themselves."""
    if not codes:
        return values
    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    found = values.astype(np.float32 if single else np.float64)
    found[is_missing(values, codes)] = np.nan
    return found


def refuse_outliers(
    far: FarValues,
    features: Iterable[int],
    names: Sequence[str],
    what: str,
    remedy: str,
    numbers: Sequence[int] | NDArray[np.int64] | None = None,
) -> None:
    """Raise DataError if a feature has values too far from the others to be measurements.

    Parameters
    ----------
    far
        Distances of all values.
    features
        Numbers of the features to check.
    names
        Names of all features.
    what
        Kind of feature, for the message: ``channel``, ``target``.
    remedy
        Advice on how to accept the values as measurements; ``{name}`` is the feature's name.
    numbers
        Numbers of the samples; None: they are counted from 0.
    """
    for feature in features:
        found = far.find(feature)
        if found is not None:
            sample, value, count = found
            others = "" if count == 1 else f" ({count} such values)"
            number = sample if numbers is None else int(numbers[sample])
            raise DataError(
                f"{what} {names[feature]!r} must hold measurements, got {value:g} in sample"
                f" {number}{others}, far outside its other values as a code for 'not"
                " measured' is: correct or remove the sample, or, if it is meant,"
                f" {remedy.format(name=names[feature])}"
            )


def refuse_far_from(
    scale: tuple[Sequence[float], Sequence[float]],
    values: NDArray[Any],
    numbers: Sequence[int] | NDArray[np.int64],
    names: Sequence[str],
    meant: Sequence[str],
    what: str,
) -> None:
    """Raise DataError if new values are far from those on which a model was trained.

    Parameters
    ----------
    scale
        Mean and standard deviation of each feature in training.
    values
        New values of shape (n_samples, n_features, ...).
    numbers
        Numbers of the samples.
    names, meant, what
        As for ``refuse_outliers``; far values of the features in ``meant`` are measurements.
    """
    mean, std = (np.asarray(each, dtype=np.float64) for each in scale)
    far = FarValues(values, reach=KNOWN_REACH * std, centre=mean)
    far.update(values)
    asked = [k for k, name in enumerate(names) if name not in meant]
    refuse_outliers(far, asked, names, what, ACCEPT, numbers)


def _thinned(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return evenly spaced values of each feature, of shape (n_features, n_values)."""
    # (n_samples, n_features, ...) -> (n_features, n_samples * ...)
    flat = np.moveaxis(values.reshape(*values.shape[:2], -1), 1, 0).reshape(values.shape[1], -1)
    step = -(-flat.shape[1] // MAX_BULK)
    return np.asarray(flat[:, ::step], dtype=np.float64)


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _bin_of(distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each distance: its exponent and the leading bits of its mantissa."""
    contiguous = np.ascontiguousarray(distance)
    return contiguous.view(np.int64) >> 49


def _lower_edge(number: int) -> float:
    """Return the smallest distance of a bin."""
    return float(np.array(int(number) << 49, dtype=np.int64).view(np.float64))
