"""Check the source arrays before anything is written: shapes, numbers, channels, targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.data.outliers import FarValues, is_missing, refuse_outliers, without_codes
from hpo_utils.data.scaling import RunningStatistics, Standardizer, logarithms
from hpo_utils.data.split import PART_NAMES
from hpo_utils.formats.opening import wrong_kind
from hpo_utils.formats.sources import ArraySource

COARSE = 1e-3  # largest float32 rounding step of a target, in its standard deviations
FAULTY_CHANNELS = [1, 3]  # excluded by default if there are four channels: a saturated amplifier
SATURATED_SHARE = 1e-3  # a channel with a larger share of values at the rails counts as saturated
FLOAT32_MAX = float(np.finfo(np.float32).max)
MIN_MEASURED = 2  # samples of each part in which a target must have been measured
MEANT = (
    "name {name!r} in dataset.accept_outliers; if it is a code, name it in dataset.missing_values"
)


def check_shapes(
    x: ArraySource, t: ArraySource, factor: int = 1, channel_names: list[str] | None = None
) -> None:
    """Raise DataError unless the arrays have usable shapes that match.

    ``factor`` is the downsampling factor, which must leave at least two rows. Inputs whose channels
    seem to come last are accepted only if ``channel_names`` has a name for each channel.
    """
    if len(x.shape) not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            "dataset.x_train must have shape (N, L), (N, C, L) or (N, C, H, W) without an empty"
            f" axis, got {x.shape}"
        )
    _check_channels_first(x.shape, channel_names)
    check_downsampling(x.shape[2] if len(x.shape) == 4 else x.shape[-1], factor)
    if len(t.shape) not in (1, 2) or 0 in t.shape:
        raise DataError(f"dataset.t_train must have shape (N, n_targets) or (N,), got {t.shape}")
    if x.shape[0] != t.shape[0]:
        raise DataError(
            "dataset.x_train and dataset.t_train must have the same number of samples, got"
            f" {x.shape[0]} and {t.shape[0]}"
            + (
                ": the samples of x seem to come last, save np.moveaxis(x, -1, 0)"
                if x.shape[-1] == t.shape[0]
                else ""
            )
        )


def _check_channels_first(shape: tuple[int, ...], channel_names: list[str] | None) -> None:
    """Raise DataError if the channels of inputs (N, C, ...) seem to come last.

    Few recordings have more channels than positions along the last axis; for those, the user must
    name the channels.
    """
    if len(shape) == 2:
        return
    turn = "save np.moveaxis(x, -1, 1)"
    if channel_names is not None:
        if len(channel_names) == shape[-1] != shape[1]:
            raise DataError(
                f"dataset.x_train must have its channels first, got shape {shape} and"
                f" {len(channel_names)} dataset.channel_names: the channels come last, {turn}"
            )
    elif shape[1] > shape[-1]:
        raise DataError(
            f"dataset.x_train must have its channels first, got shape {shape}: if they come last,"
            f" {turn}; if these are {shape[1]} channels, name them in dataset.channel_names"
        )


def count_rows(shape: Sequence[int]) -> int:
    """Return the length of the axis of inputs (n_samples, ...) that thinning shortens: H or L."""
    return shape[2] if len(shape) == 4 else shape[-1]


def check_downsampling(n_rows: int, factor: int) -> None:
    """Raise DataError unless at least two rows remain if every ``factor``-th row is kept."""
    if factor >= n_rows > 1:
        raise DataError(
            f"dataset.downsample_factor must leave at least two of the {n_rows} rows of"
            f" dataset.x_train, got {factor}: choose less than {n_rows}"
        )


def channel_indices(x: ArraySource, exclude: list[int] | None) -> list[int]:
    """Return the channels to use: all but ``exclude`` (by default 1 and 3 of four channels)."""
    if exclude is None:
        exclude = FAULTY_CHANNELS if x.n_channels == 4 else []
        if exclude:
            print(
                f"of four channels {exclude} are left out, since dataset.exclude_channels is not"
                " set: set it to [] to keep all"
            )
    wrong = [channel for channel in exclude if not 0 <= channel < x.n_channels]
    if wrong:
        raise DataError(
            f"dataset.exclude_channels must lie between 0 and {x.n_channels - 1}, got {wrong}"
        )
    channels = [channel for channel in range(x.n_channels) if channel not in exclude]
    if not channels:
        raise DataError(
            f"dataset.exclude_channels must leave at least one of {x.n_channels} channels, got"
            f" {list(exclude)}"
        )
    return channels


def scan_targets(
    t: ArraySource,
    n_samples: int,
    names: list[str],
    meant: Sequence[str] = (),
    codes: Sequence[float] = (),
    partly_measured: bool = False,
) -> NDArray[np.float32]:
    """Read, check and return the targets, of shape (n_samples, n_targets).

    ``names`` are the targets' names; far values of the targets in ``meant`` are measurements. If
    they are ``partly_measured``, NaN or one of the ``codes`` stands for a value that was not
    measured.

    Raises
    ------
    DataError
        If a value is not finite, seems to be a code, or loses its digits in float32.
    """
    recorded = t.read()[:n_samples].reshape(n_samples, -1)
    targets = without_codes(recorded, codes)
    missing = np.isnan(targets) if targets.dtype.kind == "f" else np.zeros(targets.shape, bool)
    bad = np.argwhere(~representable(targets) & ~(missing & partly_measured))
    if len(bad):
        sample, target = (int(i) for i in bad[0])
        value = recorded[sample, target]
        remedy = "give the target another unit"
        if missing[sample, target]:
            remedy = f"correct or remove these samples{_saved_if_partly(missing)}"
        elif not np.isfinite(value):
            remedy = "correct or remove these samples"
        raise DataError(
            f"targets must be finite numbers within float32, got {value} for {names[target]!r} in"
            f" sample {sample} ({len(bad)} such values): {remedy}"
        )
    for k, name in enumerate(names):
        measured = np.flatnonzero(~missing[:, k])
        if name not in meant and len(measured):
            values = targets[measured, k : k + 1]
            far = FarValues(values)
            far.update(values)
            refuse_outliers(far, [0], [name], "target", MEANT, measured)
        _check_digits(targets[measured, k], name)
    return targets.astype(np.float32)


def _saved_if_partly(missing: NDArray[np.bool_]) -> str:
    """Return what ``dataset.partly_measured`` would keep, if it would keep anything."""
    partly = missing[missing.any(axis=1) & ~missing.all(axis=1)]
    if not len(partly):
        return ""
    return (
        f", or set dataset.partly_measured to true, which keeps {(~partly).sum()} values measured"
        f" in {len(partly)} samples that lack others"
    )


def _check_digits(values: NDArray[Any], name: str) -> None:
    """Raise DataError if the values (n,) of a target vary by little more than float32 rounding."""
    exact = values.astype(np.float64)
    if not len(exact) or np.ptp(exact) == 0:
        return
    if np.spacing(np.abs(values.astype(np.float32)).max()) <= COARSE * exact.std():
        return
    spread = exact - exact.mean()
    centred = np.abs(spread).max().astype(np.float32)
    remedy = "subtract a constant from it first"
    if np.spacing(centred) > COARSE * spread.std():  # too small for a shift to help
        power = -round(float(np.log10(np.ptp(spread))))
        remedy = f"give it another unit, such as by multiplying it by 1e{power}"
    raise DataError(
        f"targets must keep their digits in float32, but {name!r} varies too little for that:"
        f" {remedy}"
    )


def check_measured(
    targets: NDArray[np.float32], split: dict[str, NDArray[np.int64]], names: list[str]
) -> None:
    """Raise DataError unless each target was measured in two samples of each part at least."""
    for part, rows in split.items():
        counts = np.isfinite(targets[rows]).sum(axis=0)
        for name, count in zip(names, counts.tolist(), strict=True):
            if count < min(MIN_MEASURED, len(rows)):
                raise DataError(
                    f"target {name!r} must have been measured in at least {MIN_MEASURED} samples"
                    f" of the {PART_NAMES[part]} part, but was in {count} of {len(rows)}: choose"
                    " another data_split.seed or larger shares, or leave it out of the target array"
                )


def fit_target_scaler(
    targets: NDArray[np.float32], names: list[str], logarithmic: Sequence[int] = ()
) -> Standardizer:
    """Fit the target scaler on training targets of shape (n_samples, n_targets).

    NaN, for a value that was not measured, does not count. The targets whose numbers are in
    ``logarithmic`` are scaled as logarithms.

    Raises
    ------
    DataError
        If a target is constant.
    """
    statistics = RunningStatistics(len(names))
    statistics.update(logarithms(targets, logarithmic))
    for name, varies in zip(names, statistics.varies, strict=True):
        if not varies:
            raise DataError(
                f"target {name!r} must vary in the training part, but is constant there: leave it"
                " out of the target array"
            )
    return replace(statistics.standardizer(), logarithmic=tuple(logarithmic))


def sample_weights(values: NDArray[Any], n_samples: int) -> NDArray[np.float64]:
    """Return how much each sample counts.

    Raises
    ------
    DataError
        If there is not one positive number for each sample.
    """
    if values.shape != (n_samples,):
        raise DataError(
            f"dataset.weights must hold one number for each of {n_samples} samples, got shape"
            f" {values.shape}"
        )
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        first = int(wrong.argmax())
        raise DataError(
            f"dataset.weights must hold positive numbers, got {values[first]:g} for sample {first}:"
            " leave out a sample that is not to count"
        )
    return values.astype(np.float64)


def scan_inputs(
    x: ArraySource,
    n_samples: int,
    train: NDArray[np.int64],
    channels: list[int],
    names: list[str],
    meant: Sequence[str] = (),
    codes: Sequence[float] = (),
) -> dict[str, Any]:
    """Read all inputs once: check that they are usable and compute their statistics.

    Parameters
    ----------
    x, n_samples
        The source and how many of its samples are used.
    train
        Sample numbers of the training part; the statistics come from these samples alone.
    channels, names
        Numbers of the used channels, and the names of all channels.
    meant
        Names of channels whose far values are measurements.
    codes
        Values that stand for what was not measured; they are left out of everything.

    Returns
    -------
    dict
        ``channel_statistics``: mean, std, min, max and share of values at the rails, each a list
        over all channels, with ``codes`` also the share of values that are missing;
        ``saturated_channels``: numbers of the channels that clip.

    Raises
    ------
    DataError
        If a value of a used channel is not finite or seems to be a code, or a used channel is
        constant.
    """
    statistics = RunningStatistics(len(names))
    in_train = np.zeros(n_samples, dtype=bool)
    in_train[train] = True
    far: FarValues | None = None
    for start, recorded in x.channel_chunks(n_samples):
        _check_finite(recorded, start, channels, names, codes)
        piece = without_codes(recorded, codes)
        used = piece[:, channels]
        far = FarValues(used) if far is None else far
        far.update(used)
        with np.errstate(invalid="ignore"):  # excluded channels may hold anything
            statistics.update(piece[in_train[start : start + len(piece)]])
    for channel in channels:
        if not statistics.varies[channel]:
            raise DataError(
                f"channel {channel} ({names[channel]}) must vary in the training part, but is"
                f" {statistics.min[channel]:g} throughout: add it to dataset.exclude_channels"
            )
    if far is not None:
        theirs = [names[channel] for channel in channels]
        asked = [i for i, name in enumerate(theirs) if name not in meant]
        refuse_outliers(far, asked, theirs, "channel", MEANT)
    rails = statistics.share_at_rails
    n_values = len(train) * math.prod(x.shape[1 if len(x.shape) == 2 else 2 :])
    missing = {"missing": _json_numbers(1 - statistics.count / n_values)} if codes else {}
    return {
        "channel_statistics": {
            "mean": _json_numbers(statistics.mean),
            "std": _json_numbers(statistics.std),
            "min": _json_numbers(statistics.min),
            "max": _json_numbers(statistics.max),
            "share_at_rails": _json_numbers(rails),
            **missing,
        },
        "saturated_channels": [int(i) for i in np.flatnonzero(rails > SATURATED_SHARE)],
    }


def _check_finite(
    piece: NDArray[Any],
    start: int,
    channels: list[int],
    names: list[str],
    codes: Sequence[float],
) -> None:
    for channel in channels:
        values = piece[:, channel].reshape(len(piece), -1)
        fine = representable(values)
        if fine.all():
            continue
        fine |= is_missing(values, codes)
        if not fine.all():
            sample, place = np.argwhere(~fine)[0]
            value = values[sample, place]
            gap = ", name it in dataset.missing_values" if np.isnan(value) else ""
            raise DataError(
                f"inputs must be finite numbers within float32, got {value} in sample"
                f" {start + sample}, channel {channel} ({names[channel]}): correct or remove the"
                f" sample{gap}, or add the channel to dataset.exclude_channels"
            )


def real_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array of real numbers; raise DataError (naming it ``name``) otherwise."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise DataError(
            f"{name} must have no masked values, got {np.ma.getmaskarray(values).sum()}: remove"
            " their samples, since what lies under the mask would count as measured"
        )
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(
            f"{name} must be an array, got a list of unequal parts: cut or pad them to one length"
        ) from None
    if array.dtype.kind not in "iufb":
        raise DataError(wrong_kind(array.dtype, name, "iufb"))
    return array


def representable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are finite and stay finite as float32."""
    if values.dtype.kind != "f":
        return np.ones(values.shape, dtype=bool)
    fine: NDArray[np.bool_] = np.isfinite(values)
    return fine & (np.abs(values) <= FLOAT32_MAX) if values.dtype.itemsize > 4 else fine


def _json_numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers for JSON, None where not finite, as may occur in an unused channel."""
    return [float(value) if np.isfinite(value) else None for value in values]
