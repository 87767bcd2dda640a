"""Checks of the source arrays before anything is written: shapes, numbers, channels, targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo_utils.errors import DataError
from hpo_utils.scaling import RunningStatistics, Standardizer
from hpo_utils.sources import ArraySource

COARSE = 1e-3  # standard deviations of a target that rounding to float32 may take
FAULTY_CHANNELS = [1, 3]  # left out by default when there are four: a saturated amplifier
MANY_CHANNELS = 8  # an axis 1 this many times longer than the last is probably channels last
SATURATED_SHARE = 1e-3  # a channel with more of its values at the rails counts as saturated
FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_shapes(
    x: ArraySource, t: ArraySource, factor: int = 1, channel_names: list[str] | None = None
) -> None:
    """Raise DataError unless the arrays have usable shapes that match.

    ``factor`` is that of the downsampling: it must leave two rows. Inputs whose channels seem to
    come last are taken only if the user has named so many channels.
    """
    if len(x.shape) not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            "dataset.x_train must have shape (N, L), (N, C, L) or (N, C, H, W) without an empty"
            f" axis, got {x.shape}"
        )
    if len(x.shape) > 2 and channel_names is None and x.shape[1] >= MANY_CHANNELS * x.shape[-1]:
        raise DataError(
            f"dataset.x_train must have its channels first, got shape {x.shape}: if they come last,"
            f" save np.moveaxis(x, -1, 1); if these are {x.shape[1]} channels, name them in"
            " dataset.channel_names"
        )
    check_downsampling(x.shape[2] if len(x.shape) == 4 else x.shape[-1], factor)
    if len(t.shape) not in (1, 2) or 0 in t.shape:
        raise DataError(f"dataset.t_train must have shape (N, n_targets) or (N,), got {t.shape}")
    if x.shape[0] != t.shape[0]:
        raise DataError(
            "dataset.x_train and dataset.t_train must have the same number of samples, got"
            f" {x.shape[0]} and {t.shape[0]}"
        )


def check_downsampling(n_rows: int, factor: int) -> None:
    """Raise DataError unless every ``factor``-th of the inputs' rows leaves two of them."""
    if factor >= n_rows > 1:
        raise DataError(
            f"dataset.downsample_factor must leave at least two of the {n_rows} rows of"
            f" dataset.x_train, got {factor}: choose less than {n_rows}"
        )


def kept_channels(x: ArraySource, exclude: list[int] | None) -> list[int]:
    """Return the channels to use: all but ``exclude``, by default but 1 and 3 of four."""
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
    kept = [channel for channel in range(x.n_channels) if channel not in exclude]
    if not kept:
        raise DataError(
            f"dataset.exclude_channels must leave at least one of {x.n_channels} channels, got"
            f" {list(exclude)}"
        )
    return kept


def scan_targets(t: ArraySource, n_samples: int, names: list[str]) -> NDArray[np.float32]:
    """Return the targets of shape (n_samples, n_targets), or raise DataError if one is not finite.

    ``names`` are the targets' names, for the message.
    """
    targets = t.read()[:n_samples].reshape(n_samples, -1)
    bad = np.argwhere(~representable(targets))
    if len(bad):
        sample, target = (int(i) for i in bad[0])
        raise DataError(
            f"targets must be finite numbers, got {targets[sample, target]} for"
            f" {names[target]!r} in sample {sample} ({len(bad)} such values): correct or remove"
            " these samples"
        )
    kept = targets.astype(np.float32)
    exact = targets.astype(np.float64)
    coarse = np.spacing(np.abs(kept).max(axis=0)) > COARSE * exact.std(axis=0)
    lost = np.flatnonzero(coarse & (np.ptp(exact, axis=0) > 0))
    if len(lost):
        raise DataError(
            f"targets must keep their digits in float32, but {names[lost[0]]!r} varies too"
            " little for its size: subtract a constant from it first"
        )
    return kept


def fit_target_scaler(targets: NDArray[np.float32], names: list[str]) -> Standardizer:
    """Fit the scaler of the training part's targets, of shape (n_samples, n_targets).

    Raises
    ------
    DataError
        If a target is constant.
    """
    statistics = RunningStatistics(len(names))
    statistics.update(targets)
    for name, varies in zip(names, statistics.varies, strict=True):
        if not varies:
            raise DataError(
                f"target {name!r} must vary in the training part, but is constant there: leave it"
                " out of the target array"
            )
    return statistics.standardizer()


def group_ids(ids: NDArray[Any], n_samples: int, name: str = "dataset.groups") -> NDArray[Any]:
    """Return the ids of groups, as text where they were bytes.

    Raises
    ------
    DataError
        If they are not of shape (n_samples,), neither numbers nor text, bytes that are no UTF-8, or
        not finite; ``name`` is what they are called.
    """
    if ids.dtype.kind not in "iufbUS":
        raise DataError(f"{name} must be numbers or names, got dtype {ids.dtype}")
    if ids.shape != (n_samples,):
        raise DataError(
            f"{name} must hold one id for each of {n_samples} samples, got shape {ids.shape}"
        )
    if ids.dtype.kind == "S":
        try:
            ids = np.char.decode(ids, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} must hold names in UTF-8, got {error.object!r}: save them as text,"
                " of dtype str"
            ) from None
    if ids.dtype.kind == "f" and not np.isfinite(ids).all():
        raise DataError(
            f"{name} must name a group for each sample, got {(~np.isfinite(ids)).sum()}"
            " values that are not finite: give these samples groups of their own"
        )
    return ids


def scan_inputs(
    x: ArraySource,
    n_samples: int,
    train: NDArray[np.int64],
    channels: list[int],
    names: list[str],
) -> dict[str, Any]:
    """Read all inputs once: check that they are usable, gather their statistics.

    Parameters
    ----------
    x, n_samples
        The source and how many of its samples are used.
    train
        Sample numbers of the training part, which alone the statistics are taken from.
    channels, names
        Channels that are used, and the names of all channels.

    Returns
    -------
    dict
        ``channel_statistics``: mean, std, min, max and share of values at the rails, a list over
        all channels each; ``saturated_channels``: numbers of those that clip.

    Raises
    ------
    DataError
        If a value of a used channel is not finite, or a used channel is constant.
    """
    statistics = RunningStatistics(len(names))
    in_train = np.zeros(n_samples, dtype=bool)
    in_train[train] = True
    for start, piece in x.channel_chunks(n_samples):
        _check_finite(piece, start, channels, names)
        with np.errstate(invalid="ignore"):  # a channel that is left out may hold anything
            statistics.update(piece[in_train[start : start + len(piece)]])
    for channel in channels:
        if not statistics.varies[channel]:
            raise DataError(
                f"channel {channel} ({names[channel]}) must vary in the training part, but is"
                f" {statistics.min[channel]:g} throughout: add it to dataset.exclude_channels"
            )
    rails = statistics.share_at_rails
    return {
        "channel_statistics": {
            "mean": _json_numbers(statistics.mean),
            "std": _json_numbers(statistics.std),
            "min": _json_numbers(statistics.min),
            "max": _json_numbers(statistics.max),
            "share_at_rails": _json_numbers(rails),
        },
        "saturated_channels": [int(i) for i in np.flatnonzero(rails > SATURATED_SHARE)],
    }


def _check_finite(piece: NDArray[Any], start: int, channels: list[int], names: list[str]) -> None:
    for channel in channels:
        fine = representable(piece[:, channel]).reshape(len(piece), -1).all(axis=1)
        if not fine.all():
            sample = int(np.flatnonzero(~fine)[0])
            values = piece[sample, channel].ravel()
            raise DataError(
                "inputs must be finite numbers within float32, got"
                f" {values[~representable(values)][0]} in sample {start + sample}, channel"
                f" {channel} ({names[channel]}): correct or remove the sample, or add the channel"
                " to dataset.exclude_channels"
            )


def real_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array of real numbers; raise DataError, which calls it ``name``, if it is none."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{name} must be an array, got a list of unequal parts") from None
    if array.dtype.kind not in "iufb":
        raise DataError(
            f"{name} must hold real numbers, got dtype {array.dtype}: convert it with"
            " astype('float32')"
        )
    return array


def representable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are finite also as float32."""
    if values.dtype.kind != "f":
        return np.ones(values.shape, dtype=bool)
    fine: NDArray[np.bool_] = np.isfinite(values)
    return fine & (np.abs(values) <= FLOAT32_MAX) if values.dtype.itemsize > 4 else fine


def _json_numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers for JSON; an unused channel may hold what JSON has no word for."""
    return [float(value) if np.isfinite(value) else None for value in values]
