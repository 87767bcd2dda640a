"""Recordings: one file each, as channels over time, with names, units and rate where they are told.

Read are WAV, TDMS (extra ``formats``), spectra of instruments, tables with a row for each time, and
files of arrays.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import HDF5, MATLAB, NUMPY, choose_array, read_arrays
from hpo_utils.formats.spectra import JCAMP, SPC, read_curve
from hpo_utils.formats.tables import SHEETS, TEXTS, Column, read_table

WAV, TDMS = (".wav",), (".tdms",)
READABLE = (*WAV, *TDMS, *JCAMP, *SPC, *TEXTS, *SHEETS, *NUMPY, *MATLAB, *HDF5)
TIME = re.compile(r"t|time|zeit|temps|tiempo|時間|時刻|seconds?|sec", re.IGNORECASE)
IN_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0}
EVEN = 1e-3  # of a step by which the steps of an even time axis may differ


@dataclass(frozen=True)
class Axis:
    """Name with unit, first and last place of the axis of signals."""

    name: str
    first: float
    last: float


@dataclass(frozen=True)
class Recording:
    """Values (n_channels, length) of one file.

    ``rate`` in Hz is None if the file does not say; ``axis`` is that of a spectrum, else None.
    """

    path: Path
    values: NDArray[np.float64]
    channels: list[str]
    units: list[str]
    rate: float | None
    axis: Axis | None = None


def read_recording(path: Path, key: str | None = None) -> Recording:
    """Read one recording; ``key`` names its array in a file that holds several.

    Raises
    ------
    DataError
        If the file cannot be read as a recording.
    """
    suffix = path.suffix.lower()
    if suffix in WAV:
        return _of_wav(path)
    if suffix in TDMS:
        return _of_tdms(path)
    if suffix in (*JCAMP, *SPC):
        return _of_spectrum(path)
    if suffix in (*TEXTS, *SHEETS):
        return _of_table(path)
    if suffix in (*NUMPY, *MATLAB, *HDF5):
        values = choose_array(read_arrays(path), key, "--key", path)
        return _of_array(path, np.squeeze(values).astype(np.float64))
    raise DataError(
        f"a recording must be one of {', '.join(READABLE)}, got {path.name}: export it as CSV"
    )


def _of_spectrum(path: Path) -> Recording:
    """Read a spectrum, whose name is that of its unit."""
    x, y, x_unit, y_unit = read_curve(path)
    axis = Axis(f"axis [{x_unit}]" if x_unit else "axis", float(x[0]), float(x[-1]))
    return Recording(path, y[None], [y_unit or "signal"], ["-"], None, axis)


def _of_wav(path: Path) -> Recording:
    """Read a WAV file; integers count as shares of the full scale, as in other readers."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks of other programs
            rate, values = wavfile.read(path)
    except Exception as error:  # a damaged file raises anything
        raise DataError(f"a WAV file must be whole, got {path.name}: {error}") from None
    found = np.atleast_2d(values.T).astype(np.float64)
    if values.dtype.kind == "u":  # 8 bit: from 0 to 255 about 128
        found = (found - 128.0) / 128.0
    elif values.dtype.kind == "i":  # 24 bit come as 32 bit
        found /= 2.0 ** (8 * values.dtype.itemsize - 1)
    if not found.size:
        raise DataError(f"a recording must hold values, got {path.name} with none")
    names = [f"channel {k}" for k in range(len(found))]
    return Recording(path, found, names, ["-"] * len(found), float(rate))


def _of_tdms(path: Path) -> Recording:
    """Read all channels of a TDMS file, scaled; they must be equally long and fast."""
    try:
        from nptdms import TdmsFile
    except ImportError:
        raise DataError(
            f"TDMS files need the package npTDMS, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    try:
        channels = [each for group in TdmsFile.read(path).groups() for each in group.channels()]
        values = [np.asarray(channel[:]) for channel in channels]
    except Exception as error:  # a damaged file raises anything
        raise DataError(f"a TDMS file must be whole, got {path.name}: {error}") from None
    kept = [k for k, each in enumerate(values) if each.dtype.kind in "iuf" and len(each)]
    lengths = {channels[k].name: len(values[k]) for k in kept}
    if len(set(lengths.values())) != 1:
        raise DataError(
            f"the channels of a recording must be equally long, got {lengths or 'none'} in"
            f" {path.name}"
        )
    steps = {channels[k].properties.get("wf_increment") for k in kept} - {None, 0.0}
    if len(steps) > 1:
        raise DataError(
            f"the channels of a recording must have one rate, got steps of {sorted(steps)} s in"
            f" {path.name}"
        )
    return Recording(
        path,
        np.stack([values[k].astype(np.float64) for k in kept]),
        [channels[k].name for k in kept],
        [str(channels[k].properties.get("unit_string") or "-") for k in kept],
        1.0 / float(steps.pop()) if steps else None,
    )


def _of_table(path: Path) -> Recording:
    """Read a table with a row for each time; a column of times gives the rate."""
    columns = read_table(path)
    if text := [column.name for column in columns if column.numbers is None]:
        raise DataError(
            f"the columns of a recording must hold numbers, got text in {', '.join(text)} of"
            f" {path.name}"
        )
    times, *others = columns
    rate = _rate_of(times, path) if TIME.fullmatch(times.name) and others else None
    kept = columns if rate is None else others
    values = np.stack([column.numbers for column in kept if column.numbers is not None])
    return Recording(
        path, values, [c.name for c in kept], [c.unit or "-" for c in kept], rate
    )  # fmt: skip


def _rate_of(times: Column, path: Path) -> float:
    """Return the rate in Hz of an even column of times."""
    steps = np.diff(times.numbers if times.numbers is not None else [])
    scale = IN_SECONDS.get(times.unit.lower())
    if scale is None:
        raise DataError(
            f"the unit of times must be one of {', '.join(filter(None, IN_SECONDS))}, got"
            f" {times.unit!r} in {path.name}"
        )
    step = float(np.median(steps)) if len(steps) else 0.0
    if not step > 0 or np.nanmax(np.abs(steps - step)) > EVEN * step or np.isnan(steps).any():
        raise DataError(
            f"the times of a recording must rise in even steps, got steps from {np.min(steps):g} to"
            f" {np.max(steps):g} in {path.name}"
            if len(steps)
            else f"a recording must hold several times, got {path.name} with one"
        )
    return 1.0 / (step * scale)


def _of_array(path: Path, values: NDArray[np.float64]) -> Recording:
    """Take the longer axis of an array for time."""
    if values.ndim not in (1, 2) or not values.size:
        raise DataError(
            f"a recording must be a vector or (n_channels, length), got {values.shape} in"
            f" {path.name}"
        )
    rows = np.atleast_2d(values)
    rows = rows.T if rows.shape[0] > rows.shape[1] else rows
    return Recording(
        path, rows, [f"channel {k}" for k in range(len(rows))], ["-"] * len(rows), None
    )  # fmt: skip
