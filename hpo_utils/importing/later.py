"""Samples measured later, in the kinds of files that training took: inputs and measured targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.endings import ARRAYS, CASES, CURVES, NUMPY, RECORDINGS, TABLES, TIFF, ending
from hpo_utils.formats.recordings import read_recording
from hpo_utils.formats.references import Named, read_references
from hpo_utils.formats.samples import holds_samples, read_samples, samples_of_cases
from hpo_utils.formats.windows import cut


def read_inputs(
    path: Path, key: str | None, raw_shape: Sequence[int], id_column: str | None = None
) -> tuple[NDArray[Any] | Path, list[str] | None]:
    """Return raw inputs (n_samples, *raw_shape), and the ids of the samples if there are any.

    An ``.npy`` or ``.npz`` file is returned as it is, since it can be read in pieces. A table has a
    sample in each row. A recording, or a table with a row for each time, is cut into windows as
    long as a sample; their ids tell where they begin.

    Raises
    ------
    DataError
        If the file cannot be read, or holds samples of another shape.
    """
    suffix = ending(path)
    if suffix in NUMPY:
        return path, None
    ids: list[str] | None
    if suffix in ARRAYS and (recorded := _recorded(path, key, raw_shape)) is not None:
        values, ids = _windows(path, recorded, raw_shape[-1])
    elif suffix in (*ARRAYS, *CASES, *CURVES) or (suffix in TABLES and holds_samples(path)):
        samples = read_samples(path, Named(id_column), key, option="--x-key", inputs_only=True)
        values, ids = samples.values, samples.ids
    elif suffix in RECORDINGS:
        values, ids = _windows(path, read_recording(path).values, raw_shape[-1])
    else:
        known = ", ".join((*RECORDINGS, *TIFF, *CASES))
        raise DataError(f"inputs must be one of {known}, got {path.name}")
    wanted, found = (tuple(n for n in s if n > 1) for s in (raw_shape, values.shape[1:]))
    if wanted != found:
        raise DataError(
            f"inputs must have samples of shape {tuple(raw_shape)}, as those of the training, got"
            f" {values.shape[1:]} in {path.name}"
        )
    return values.reshape(len(values), *raw_shape), ids


def _recorded(path: Path, key: str | None, raw_shape: Sequence[int]) -> NDArray[np.float64] | None:
    """Return an array (n_channels, length) with the channels of a sample; a vector has one.

    None if samples are no signals, or the array holds them.
    """
    if len(raw_shape) != 2:
        return None
    try:
        values = read_recording(path, key).values
    except DataError:  # several arrays, or axes
        return None
    return values if len(values) == raw_shape[0] else None


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
) -> NDArray[Any] | Path:
    """Return measured targets (n_samples, n_targets) in the order of ``names``.

    A table has a column for each target. Its rows are joined with the samples by their ids, if both
    have ids, those of windows by their recording; otherwise their order counts. An ``.npy`` or
    ``.npz`` file is returned as it is.

    Raises
    ------
    DataError
        If the file cannot be read, or lacks a target or a sample.
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
    if ids is None or references.ids is None or list(ids) == references.ids:
        return references.values
    if not set(ids) <= set(references.ids):  # windows, of which a table names the recording
        ids = [each.rpartition(":")[0] or each for each in ids]
    return np.asarray(references.values[references.rows_of(ids)])
