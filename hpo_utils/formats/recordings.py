"""Recordings: one file each, as channels over time, with names, units and rate where they are told.

Read are WAV, LabVIEW's TDMS and LVM and MDF4 (extra ``formats``), spectra of instruments, tables
with a row for each time, and files of arrays.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import attributes_of, choose_array, read_arrays
from hpo_utils.formats.axes import Axis, axis_along, is_time, rate_of, same_rate, times_first
from hpo_utils.formats.endings import (
    LVM,
    MDF,
    RECORDINGS,
    SPECTRA,
    TABLES,
    TDMS,
    WAV,
    ending,
)
from hpo_utils.formats.spectra import read_curve
from hpo_utils.formats.tables import NAMELESS, PLACES, Column, read_table, rises_or_falls

# what scalars and attributes with a rate in Hz, or the time of a step, are called
RATE = re.compile(r"fs|f_s|(sample|sampling|scan|abtast)[ _]?(rate|freq|frequency)", re.IGNORECASE)
STEP = re.compile(r"dt|delta_?t|time_?step|(sample|sampling)[ _]?(interval|period)", re.IGNORECASE)
X_VALUE = "X_Value"  # LabVIEW's name of a column of times


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


Loaders = Mapping[str, Callable[[], Recording]]  # by the names of the recordings


def read_recording(path: Path, key: str | None = None) -> Recording:
    """Read one recording; ``key`` names its array in a file that holds several.

    Raises
    ------
    DataError
        If the file cannot be read as a recording.
    """
    suffix = ending(path)
    if suffix not in RECORDINGS:
        raise DataError(
            f"a recording must be one of {', '.join(RECORDINGS)}, got {path.name}: export it as CSV"
        )
    for endings, read in (
        (WAV, _of_wav),
        (TDMS, _of_tdms),
        (LVM, _of_lvm),
        (MDF, _of_mdf),
        (SPECTRA, _of_spectrum),
        (TABLES, _of_table),
    ):
        if suffix in endings:
            return read(path)
    return _of_arrays(path, key)


def _of_spectrum(path: Path) -> Recording:
    """Read a spectrum, whose name is that of its unit."""
    x, y, x_unit, y_unit = read_curve(path)
    axis = axis_along(x, x_unit)
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
    with _reading(path, "TDMS", "npTDMS"):
        from nptdms import TdmsFile

        found = [each for group in TdmsFile.read(path).groups() for each in group.channels()]
        channels = [
            _Channel(
                each.name,
                np.asarray(each[:]),
                str(each.properties.get("unit_string") or "-"),
                each.properties.get("wf_increment") or None,
            )
            for each in found
        ]
    return _joined(path, [each for each in channels if each.values.dtype.kind in "iuf"])


def _of_lvm(path: Path) -> Recording:
    """Read a text file of LabVIEW, of one segment; its column of times gives the rate."""
    with _reading(path, "LVM", "lvm_read"):
        import lvm_read

        # otherwise it writes a file beside the original, and reads that the next time
        found = lvm_read.read(str(path), read_from_pickle=False, dump_file=False)
        if found["Segments"] != 1:
            raise ValueError(f"it holds {found['Segments']} segments: split it into files")
        segment = found[0]
        names = segment["Channel names"]
        values = np.asarray(segment["data"], dtype=np.float64).T
    kept = [k for k, name in enumerate(names) if name not in (X_VALUE, "Comment")]
    several = names.count(X_VALUE) > 1

    def told(field: str, channel: int) -> Any:
        given = segment.get(field, [])
        # where each channel has times of its own, what is told of it stands above these
        at = kept[channel] - 1 if several and len(given) > len(kept) else channel
        return given[at] if at < len(given) else None

    return _joined(
        path,
        [
            _Channel(
                names[k],
                values[k],
                told("Y_Unit_Label", channel) or "-",
                step if step and step > 0 else None,
            )
            for channel, k in enumerate(kept)
            for step in [told("Delta_X", channel)]
        ],
    )


def _of_mdf(path: Path) -> Recording:
    """Read the channels of an MDF file; where its invalidation bits say so, NaN is read.

    Channels with times of their own are refused, since joining them would make values up.
    """
    channels, times = [], []
    with _reading(path, "MDF", "asammdf"):
        import asammdf

        with asammdf.MDF(path) as found:
            for signal in found.iter_channels(skip_master=True):
                if signal.samples.dtype.kind not in "iuf" or signal.samples.ndim != 1:
                    continue
                # by itself it leaves out samples that are marked as invalid
                whole = found.get(
                    group=signal.group_index,
                    index=signal.channel_index,
                    ignore_invalidation_bits=True,
                )
                values = np.array(whole.samples, dtype=np.float64)
                if whole.invalidation_bits is not None:
                    values[np.asarray(whole.invalidation_bits, dtype=bool)] = np.nan
                times.append(np.asarray(whole.timestamps))
                channels.append(_Channel(whole.name, values, whole.unit or "-", None))
    if any(not np.array_equal(each, times[0]) for each in times):
        lengths = {each.name: len(each.values) for each in channels}
        raise DataError(
            f"the channels of a recording must share their times, got {lengths} in {path.name}:"
            " resample them to one raster and save it again"
        )
    step = 1.0 / rate_of(_as_column("time", times[0]), path) if times else None
    return _joined(path, [replace(each, step=step) for each in channels])


@dataclass(frozen=True)
class _Channel:
    """Values (length,) of one channel; ``step`` in seconds is None if the file does not say."""

    name: str
    values: NDArray[np.generic]
    unit: str
    step: float | None


def _joined(path: Path, channels: Sequence[_Channel]) -> Recording:
    """Return the channels that hold values as one recording; they must be equally long and fast."""
    kept = [each for each in channels if len(each.values)]
    by_times = set()
    if len(kept) > 1 and all(each.step is None for each in kept):
        times = _as_column(kept[0].name, kept[0].values, kept[0].unit)
        if is_time(times):
            by_times, kept = {1.0 / rate_of(times, path)}, kept[1:]
    lengths = {each.name: len(each.values) for each in kept}
    if len(set(lengths.values())) != 1:
        raise DataError(
            f"the channels of a recording must be equally long, got {lengths or 'none'} in"
            f" {path.name}"
        )
    steps = {each.step for each in kept if each.step is not None} or by_times
    if len(steps) > 1:
        raise DataError(
            f"the channels of a recording must have one rate, got steps of {sorted(steps)} s in"
            f" {path.name}"
        )
    return Recording(
        path,
        np.stack([each.values.astype(np.float64) for each in kept]),
        [each.name for each in kept],
        [each.unit for each in kept],
        1.0 / float(steps.pop()) if steps else None,
    )


@contextmanager
def _reading(path: Path, kind: str, package: str) -> Iterator[None]:
    """Say in a sentence that the package is missing, or that the file is damaged."""
    try:
        yield
    except ImportError:
        raise DataError(
            f"{kind} files need the package {package}, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    except Exception as error:  # a damaged file raises anything
        raise DataError(f"a file must be whole {kind}, got {path.name}: {error}") from None


def recordings_by_id(path: Path, id_column: str | None = None) -> Loaders:
    """Return the recordings of a table in long form, a row for each id and time, by their ids.

    These stand in ``id_column``, or in the first column of text. A table in which no id comes
    several times is not in long form: then nothing is returned.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    columns = read_table(path)
    named = (c for c in columns if c.name == id_column or (not id_column and c.numbers is None))
    ids = next(named, None)
    if ids is None or not 1 < len(set(ids.cells)) <= len(ids.cells) // 2:
        return {}
    others = times_first([column for column in columns if column is not ids])
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(ids.cells):
        rows.setdefault(each, []).append(row)
    return {
        name: partial(_of_columns, [_some_rows(column, own) for column in others], Path(name))
        for name, own in rows.items()
    }


def _some_rows(column: Column, rows: Sequence[int]) -> Column:
    numbers = None if column.numbers is None else column.numbers[list(rows)]
    return replace(column, cells=[column.cells[row] for row in rows], numbers=numbers)


def _of_table(path: Path) -> Recording:
    """Read a table with a row for each time; a column of times gives the rate."""
    return _of_columns(read_table(path), path)


def _of_columns(columns: Sequence[Column], path: Path) -> Recording:
    """Return columns as the channels of a recording.

    The first holds its times if it is called so; or the places of a spectrum, if it rises or falls
    and is called wavelength or the like, or nothing.
    """
    first, *others = columns
    rate = rate_of(first, path) if others and is_time(first) else None
    measured = columns if rate is None else others
    if text := [column.name for column in measured if column.numbers is None]:
        raise DataError(
            f"the columns of a recording must hold numbers, got text in {', '.join(text)} of"
            f" {path.name}"
        )
    axis = _axis_of(first) if rate is None and others else None
    kept = columns if rate is None and axis is None else others
    values = np.stack([column.numbers for column in kept if column.numbers is not None])
    names = [f"channel {k}" if c.name.isdigit() else c.name for k, c in enumerate(kept)]
    units = [c.unit or "-" for c in kept]
    return _along(Recording(path, values, names, units, rate, axis))


def _along(recording: Recording) -> Recording:
    """Return a recording along an axis that rises."""
    axis = recording.axis
    if axis is None or axis.first <= axis.last:
        return recording
    return replace(recording, values=recording.values[:, ::-1], axis=axis.turned())


def _axis_of(column: Column) -> Axis | None:
    """Return the axis that a column of places tells; None if it holds values of a channel."""
    nameless = column.name.isdigit() or column.name.startswith(NAMELESS)
    if column.numbers is None or not (nameless or PLACES.match(column.name)):
        return None
    if not rises_or_falls(column.numbers):
        return None
    return axis_along(column.numbers, column.unit, "axis" if nameless else column.name)


def _as_column(name: str, values: NDArray[Any], unit: str = "") -> Column:
    return Column(name, unit, [], values.astype(np.float64))


def _of_arrays(path: Path, key: str | None) -> Recording:
    """Read an array, or vectors of one length as channels, with what is told beside it.

    A vector called wavelength or the like is the axis of a spectrum; a vector of times, a number
    called fs or the like, or an attribute tells the rate, if all that do tell the same.
    """
    arrays, told = read_arrays(path), list(attributes_of(path))
    units = {owner: value for owner, name, value in told if name == "units"}
    vectors = {
        name: _as_column(name.rpartition(".")[2], array, _unit_of_time(units.get(name, "")))
        for name, array in arrays.items()
        if array.ndim == 1 < array.size and name != key
    }
    times = {name: column for name, column in vectors.items() if is_time(column)}
    axes = {n: c for n, c in vectors.items() if PLACES.match(c.name) and _axis_of(c)}
    signals = {
        n: a for n, a in arrays.items() if n == key or (a.size > 1 and n not in {*times, *axes})
    }
    lengths = {each.shape for each in signals.values()}
    if key is None and len(signals) > 1 and len(lengths) == 1 and len(lengths.pop()) == 1:
        values = np.stack([each.astype(np.float64) for each in signals.values()])
        names = [vectors[name].name for name in signals]
        found = Recording(path, values, names, ["-"] * len(names), None)
    else:
        chosen = choose_array(signals or arrays, key, "--key", path)
        found = _of_array(path, np.squeeze(chosen).astype(np.float64))
    fitting = [c for n, c in axes.items() if arrays[n].shape == found.values.shape[1:]]
    if len(fitting) == 1:
        found = _along(replace(found, axis=_axis_of(fitting[0])))
    rates = []
    for name, column in times.items():
        if arrays[name].shape == found.values.shape[1:]:
            with suppress(DataError):  # uneven: as if there were none
                rates.append(rate_of(column, path))
    scalars = [(n.rpartition(".")[2], a.item()) for n, a in arrays.items() if a.size == 1]
    for name, value in (*scalars, *((n, v) for _, n, v in told if not isinstance(v, str))):
        if RATE.fullmatch(name) and value > 0:
            rates.append(float(value))
        elif STEP.fullmatch(name) and value > 0:
            rates.append(1.0 / float(value))
    one = bool(rates) and all(same_rate(rate, rates[0]) for rate in rates)
    return replace(found, rate=rates[0] if one else None)


def _unit_of_time(told: Any) -> str:
    """Return the unit in what NetCDF says of times, such as seconds since 2024-01-01."""
    unit = str(told).partition(" since")[0].strip()
    return {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}.get(unit, unit)


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
