"""Samples measured later, in the kinds of files that training took: inputs and measured targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.base.formatting import with_units
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.axes import Axis, rate_along, same_rate
from hpo_utils.formats.endings import ARRAYS, CASES, CURVES, NUMPY, RECORDINGS, TABLES, TIFF, ending
from hpo_utils.formats.recordings import Recording, read_recording
from hpo_utils.formats.references import Named, read_references
from hpo_utils.formats.samples import (
    Samples,
    holds_samples,
    read_samples,
    samples_of_cases,
    samples_of_images,
)
from hpo_utils.formats.sources import is_store
from hpo_utils.importing.windows import cut

MADE_UP = re.compile(r"channel \d+|signal")  # names of channels that no file told
NEAR = 0.5  # of a step, by which the ends of an axis may be off


@dataclass(frozen=True)
class Trained:
    """What the inputs of the training were: names of their channels with units, and their axis."""

    channels: Sequence[str] = ()
    axis: Axis | None = None


def read_inputs(
    path: Path,
    key: str | None,
    raw_shape: Sequence[int],
    id_column: str | None = None,
    trained: Trained = Trained(),
) -> tuple[NDArray[Any] | Path, list[str] | None]:
    """Return raw inputs (n_samples, *raw_shape), and the ids of the samples if there are any.

    An ``.npy`` or ``.npz`` file is returned as it is, since it can be read in pieces. A table has a
    sample in each row. A recording, or a table with a row for each time, is cut into windows as
    long as a sample; their ids tell where they begin. Channels are put into the order of the
    training, and an axis in its direction.

    Raises
    ------
    DataError
        If the file cannot be read, or holds samples of another shape; if it names other channels,
        units, places or another rate than the training had.
    """
    suffix = ending(path)
    if suffix in NUMPY:
        return path, None
    ids: list[str] | None
    channels: Sequence[str] = ()
    axis = None
    if suffix in ARRAYS and (recorded := _recorded(path, key, raw_shape)) is not None:
        values, ids = _windows(path, _in_order(recorded, trained, raw_shape), raw_shape[-1])
    elif (images := _images(path, raw_shape)) is not None:
        values, ids = images.values, images.ids
    elif suffix in (*ARRAYS, *CASES, *CURVES) or (suffix in TABLES and holds_samples(path)):
        named = Named(id_column)
        samples = read_samples(
            path, named, key, option="--x-key", inputs_only=True, length=raw_shape[-1]
        )
        values, ids = samples.values, samples.ids
        channels, axis = samples.channels, samples.axis
    elif suffix in RECORDINGS:
        recording = read_recording(path)
        values, ids = _windows(path, _in_order(recording, trained, raw_shape), raw_shape[-1])
        axis = recording.axis
    else:
        known = ", ".join((*RECORDINGS, *TIFF, *CASES))
        raise DataError(f"inputs must be one of {known}, got {path.name}")
    wanted, found = (tuple(n for n in s if n > 1) for s in (raw_shape, values.shape[1:]))
    if wanted != found:
        raise DataError(
            f"inputs must have samples of shape {tuple(raw_shape)}, as those of the training, got"
            f" {values.shape[1:]} in {path.name}"
        )
    in_shape = values.reshape(len(values), *raw_shape)
    if order := _order(channels, trained.channels, path):
        in_shape = in_shape[:, order]
    return _along(in_shape, axis, trained.axis, path), ids


def _images(path: Path, raw_shape: Sequence[int]) -> Samples | None:
    """Return an image, or those in a folder, as samples; None if the path holds others."""
    is_folder = path.is_dir() and not is_store(path)
    files = sorted(path.iterdir()) if is_folder else [path]
    images = [file for file in files if ending(file) in TIFF]
    if not images:
        return None
    try:
        found = samples_of_images(images)
    except DataError:  # a stack
        if is_folder:
            raise
        return None
    return found if is_folder or found.values.shape[1:] == tuple(raw_shape) else None


def _in_order(
    recording: Recording, trained: Trained, raw_shape: Sequence[int]
) -> NDArray[np.float64]:
    """Return the values of a recording with its channels in the order of the training."""
    names = with_units(recording.channels, recording.units)
    order = _order(names, trained.channels, recording.path)
    rate = None if trained.axis is None else rate_along(trained.axis, raw_shape[-1])
    if rate is not None and recording.rate is not None and not same_rate(recording.rate, rate):
        raise DataError(
            f"a recording must have the rate of the training, {rate:g} Hz, got"
            f" {recording.rate:g} Hz in {recording.path.name}: resample it first, as"
            " python -m hpo_utils import does by --rate"
        )
    return recording.values[order] if order else recording.values


def _order(names: Sequence[str], trained: Sequence[str], path: Path) -> list[int]:
    """Return the place of each channel of the training among ``names``; none if they need none.

    Names that readers make up tell nothing, nor do those that are all unlike the training's.
    """
    if len(names) != len(trained) or any(MADE_UP.fullmatch(each) for each in (*names, *trained)):
        return []
    own, known = ([each.partition(" [")[::2] for each in side] for side in (names, trained))
    own_names, known_names = ([name for name, _ in side] for side in (own, known))
    if len(set(own_names)) < len(names) or not set(own_names) & set(known_names):
        order = list(range(len(names)))  # the params file may have given others
    elif set(own_names) == set(known_names):
        order = [own_names.index(name) for name in known_names]
    else:
        raise DataError(_unlike("channels", names, trained, path))
    units = [(own[k][1], wanted) for k, (_, wanted) in zip(order, known, strict=True)]
    if any(unit and wanted and unit != wanted for unit, wanted in units):
        raise DataError(_unlike("units", names, trained, path))
    return order


def _unlike(what: str, names: Sequence[str], trained: Sequence[str], path: Path) -> str:
    return (
        f"inputs must have the {what} of the training, {', '.join(trained)}, got"
        f" {', '.join(names)} in {path.name}"
    )


def _along(
    values: NDArray[Any], axis: Axis | None, trained: Axis | None, path: Path
) -> NDArray[Any]:
    """Return values along the axis of the training, turned round if they fall and it rises."""
    if axis is None or trained is None or values.shape[-1] < 2:
        return values
    near = NEAR * abs(trained.last - trained.first) / (values.shape[-1] - 1)
    ends = np.array([trained.first, trained.last])
    if (np.abs(ends - [axis.first, axis.last]) <= near).all():
        return values
    if (np.abs(ends - [axis.last, axis.first]) <= near).all():
        return values[..., ::-1]
    raise DataError(
        f"inputs must have the axis of the training, {trained.first:g} to {trained.last:g}, got"
        f" {axis.first:g} to {axis.last:g} in {path.name}: interpolate them at its places"
    )


def _recorded(path: Path, key: str | None, raw_shape: Sequence[int]) -> Recording | None:
    """Return an array (n_channels, length) with the channels of a sample; a vector has one.

    None if samples are no signals, or the array holds them.
    """
    if len(raw_shape) != 2:
        return None
    try:
        recording = read_recording(path, key)
    except DataError:  # several arrays, or axes
        return None
    return recording if len(recording.values) == raw_shape[0] else None


def _windows(
    path: Path, recorded: NDArray[np.float64], length: int
) -> tuple[NDArray[Any], list[str]]:
    """Return the windows (n_windows, n_channels, length) of a recording, and their ids."""
    windows, n_gaps = cut(recorded, length, length)
    if n_gaps:
        raise DataError(
            f"a recording must have no gaps, got {n_gaps} windows with some in {path.name}"
        )
    if not len(windows):
        raise DataError(
            f"a recording must be as long as a sample, {length} values, got {recorded.shape[1]} in"
            f" {path.name}"
        )
    return windows, [f"{path.stem}:{length * number}" for number in range(len(windows))]


def read_measured(
    path: Path,
    key: str | None,
    names: Sequence[str],
    ids: Sequence[str] | None,
    id_column: str | None = None,
    units: Sequence[str] = (),
) -> NDArray[Any] | Path:
    """Return measured targets (n_samples, n_targets) in the order of ``names``, with ``units``.

    A table has a column for each target. Its rows are joined with the samples by their ids, if both
    have ids, those of windows by their recording; otherwise their order counts. An ``.npy`` or
    ``.npz`` file is returned as it is.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a target or a sample, or names another unit.
    """
    if ending(path) in NUMPY:
        return path
    if ending(path) in CASES:
        found = samples_of_cases(path).references
        if found is None:
            raise DataError(f"targets must be in {path.name}, which says @targetlabel false")
        return found.values
    if ending(path) not in TABLES:
        return choose_array(read_arrays(path), key, "--t-key", path)
    references = read_references(path, None, Named(id_column, names))
    for name, own, wanted in zip(names, references.units, units, strict=bool(units)):
        if own != wanted and "-" not in (own, wanted):
            raise DataError(
                f"{name} must be in {wanted}, as in the training, got {own} in {path.name}"
            )
    if ids is None or references.ids is None or list(ids) == references.ids:
        return references.values
    if not set(ids) <= set(references.ids):  # windows, of which a table names the recording
        ids = [each.rpartition(":")[0] or each for each in ids]
    return np.asarray(references.values[references.rows_of(ids)])
