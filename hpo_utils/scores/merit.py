"""Figures of merit of a calibration, as standards for validation name them, for each target.

Errors are predictions minus reference values. Samples of one group err alike, so standard errors
and degrees of freedom are those of the effective number of units (``intervals.count_units``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr, stdtrit

from hpo_utils.data.scaling import logarithms
from hpo_utils.data.split import MIN_UNITS
from hpo_utils.scores.intervals import Interval, count_units
from hpo_utils.scores.metrics import measured, varies

COVERAGE_FACTOR = 2  # of an expanded uncertainty: about 95 % of normal errors
AGREEMENT = 1.96  # standard deviations within which 95 % of normal differences lie


class OfSome(TypedDict, total=False):
    """What more is known of some targets: the reference's own scatter, or an error over decades."""

    repeatability: float | None  # standard deviation of one reference value
    own_error: float | None  # root of RMSEP² less that variance
    r2_ceiling: float | None  # R² that a model without error of its own would have
    expanded: float | None  # uncertainty U of a prediction with k = 2 (JCGM 100, 6.2)
    repeated: float  # repeatability standard deviation of the predictions (ISO 5725-2:2019, 7.4)
    relative: float  # root mean square error of the logarithm, as a share of the value


class Merit(OfSome):
    """Figures of merit for one target, in its unit; None where they are not defined."""

    n: int  # samples in which it was measured
    n_units: int  # independent units among them
    reference: tuple[float, float]  # lowest and highest reference value
    bias: float | None  # mean error (ISO 12099:2017, 7.3)
    bias_limit: float | None  # a bias without cause lies within ± this
    bias_p: float | None  # of a bias of zero
    rmsep: float | None  # root mean square error (ISO 12099:2017, 7.4)
    sep: float | None  # standard deviation of the errors (ISO 12099:2017, 7.5)
    slope: float | None  # of reference on predicted values (ISO 12099:2017, 7.6)
    slope_interval: Interval
    slope_p: float | None  # of a slope of one
    intercept: float | None
    line_p: float | None  # of a slope of one and an intercept of zero, together
    rpd: float | None  # standard deviation of the reference over SEP
    rpiq: float | None  # interquartile range of the reference over SEP
    sep_of_range: float | None  # SEP over the range of the reference
    agreement: Interval  # limits of agreement: bias ± 1.96 SEP (Bland and Altman, Lancet 1986)


def figures_of_merit(
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    names: list[str],
    units: NDArray[np.int64] | None,
    confidence: float,
    repeatability: Sequence[float | None] | None = None,
    logarithmic: Sequence[int] = (),
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Merit]:
    """Return the figures of merit for each target.

    Parameters
    ----------
    y_true, y_pred
        Reference and predicted values (n_samples, n_targets); NaN where there is no reference.
    names
        Names of the targets.
    units
        Number of the independent unit of each sample; None if they are independent.
    confidence
        Level of limits and intervals.
    repeatability
        Standard deviation of one reference value of each target, in its unit; None if not known.
    logarithmic
        Numbers of the targets that were learnt as logarithms: they get a relative error, too.
    groups
        Group of each sample: samples of one group with one reference value are replicates.
    """
    found = {}
    scatter = repeatability or [None] * len(names)
    for k, (name, known) in enumerate(zip(names, measured(y_true).T, strict=True)):
        own = None if units is None else units[known]
        truth, predicted = (y[known, k].astype(np.float64) for y in (y_true, y_pred))
        merit = _of_one(truth, predicted, count_units(len(truth), own), confidence)
        _add_reference(merit, truth, scatter[k])
        repeated = None if groups is None else _repeated(truth, predicted, groups[known])
        if repeated is not None:
            merit["repeated"] = repeated
        if k in logarithmic and len(truth):
            log_predicted, log_truth = logarithms(np.stack([predicted, truth], 1), (0, 1)).T
            off = float(np.sqrt(np.mean((log_predicted - log_truth) ** 2)))
            merit["relative"] = float(np.expm1(off))
        found[name] = merit
    return found


def _add_reference(merit: Merit, truth: NDArray[np.float64], repeatability: float | None) -> None:
    """Add what is left of the error when the reference's own scatter is taken out.

    The errors of model and reference are taken to be independent, so their variances add. Without a
    known repeatability all of the error counts as the model's. If the reference scatters by more
    than the RMSEP, this test part cannot show the model's error.
    """
    rmsep, known = merit["rmsep"], repeatability or 0.0
    own = None if rmsep is None or rmsep <= known else float((rmsep**2 - known**2) ** 0.5)
    merit["repeatability"] = repeatability
    merit["own_error"] = None if repeatability is None else own
    merit["expanded"] = None if own is None else COVERAGE_FACTOR * own
    variance = float(np.var(truth)) if len(truth) else 0.0
    if repeatability is not None and variance > 0:
        merit["r2_ceiling"] = max(0.0, 1 - known**2 / variance)


def _repeated(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], groups: NDArray[np.int64]
) -> float | None:
    """Return the pooled standard deviation of the predictions of replicates, if there are any."""
    if not len(truth):
        return None
    _, sets = np.unique(np.stack([groups, truth], 1), axis=0, return_inverse=True)
    sizes = np.bincount(sets.ravel())
    freedom = len(truth) - len(sizes)
    means = np.bincount(sets.ravel(), predicted) / sizes
    rest = predicted - means[sets.ravel()]
    return float((rest @ rest / freedom) ** 0.5) if freedom else None


def _of_one(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], n_units: int, confidence: float
) -> Merit:
    """Return the figures for one target, of (n_samples,) each."""
    n, error = len(truth), predicted - truth
    sep = float(np.std(error, ddof=1)) if n > 1 else None
    bias = float(error.mean()) if n else None
    limit = p_value = None
    if sep is not None and bias is not None and n_units >= MIN_UNITS:
        standard = sep / n_units**0.5
        limit = float(stdtrit(n_units - 1, (1 + confidence) / 2)) * standard
        p_value = _two_sided(bias, standard, n_units - 1)
    spread = float(np.std(truth, ddof=1)) if n > 1 and varies(truth[:, None])[0] else None
    low, high = (float(truth.min()), float(truth.max())) if n else (np.nan, np.nan)
    quarter, three = np.quantile(truth, (0.25, 0.75)) if n else (np.nan, np.nan)
    line = _line(truth, predicted, n_units, confidence) if spread is not None else {}
    varying = None if spread is None else high - low
    return {
        "n": n,
        "n_units": n_units,
        "reference": (low, high),
        "bias": bias,
        "bias_limit": limit,
        "bias_p": p_value,
        "rmsep": float(np.sqrt(np.mean(error**2))) if n else None,
        "sep": sep,
        "slope": line.get("slope"),
        "slope_interval": line.get("interval", (None, None)),
        "slope_p": line.get("slope_p"),
        "intercept": line.get("intercept"),
        "line_p": line.get("line_p"),
        "rpd": _over(spread, sep),
        "rpiq": _over(None if spread is None else float(three - quarter), sep),
        "sep_of_range": _over(sep or None, varying),
        "agreement": (None, None)
        if sep is None or bias is None
        else (bias - AGREEMENT * sep, bias + AGREEMENT * sep),
    }


def _line(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], n_units: int, confidence: float
) -> dict[str, Any]:
    """Return the least-squares line of reference on predicted values, and its tests.

    The joint test compares the squared errors with those about the line (Mandel and Linnig,
    Analytical Chemistry 29 (1957), 743-749).
    """
    centred = predicted - predicted.mean()
    squares = float(centred @ centred)
    if squares == 0 or n_units < MIN_UNITS:
        return {}
    slope = float(centred @ (truth - truth.mean())) / squares
    intercept = float(truth.mean() - slope * predicted.mean())
    rest = truth - intercept - slope * predicted
    variance = float(rest @ rest) / (len(truth) - 2)
    freedom = n_units - 2
    # the samples of a unit count as one
    standard = (variance / squares * len(truth) / n_units) ** 0.5
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * standard
    error = predicted - truth
    line_p = None
    if variance > 0:
        removed = float(error @ error - rest @ rest) * n_units / len(truth)
        line_p = float(fdtrc(2, freedom, max(removed, 0.0) / 2 / variance))
    return {
        "slope": slope,
        "intercept": intercept,
        "interval": (slope - half, slope + half),
        "slope_p": _two_sided(slope - 1.0, standard, freedom),
        "line_p": line_p,
    }


def _over(above: float | None, below: float | None) -> float | None:
    """Return a ratio; None where it is not defined."""
    return None if above is None or not below else above / below


def _two_sided(difference: float, standard: float, freedom: int) -> float | None:
    """Return the p value of a difference of zero by Student's t."""
    return float(2 * stdtr(freedom, -abs(difference) / standard)) if standard > 0 else None
