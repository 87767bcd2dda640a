"""Opening: the array that a setting names, from a file of any kind."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.endings import ARRAYS, CASES, NUMPY, RECORDINGS, TABLES, ending
from hpo_utils.formats.references import Named, References, read_references, references_among
from hpo_utils.formats.samples import holds_samples, read_samples
from hpo_utils.formats.sources import (
    HDF5,
    HDF5_AT,
    MISSING,
    NUMBERS,
    PACKED,
    ArraySource,
    Hdf5Source,
    LoadedSource,
    arrays_in_store,
    as_declared,
    is_measured,
    is_store,
    open_member,
    read_header,
    words_in,
)
from hpo_utils.formats.tables import read_table

OTHERS = {*ARRAYS, *CASES, *RECORDINGS} - {*NUMPY}  # endings of files of other programs


def open_array(
    path: Path,
    key: str | None,
    name: str,
    kinds: str = NUMBERS,
    named: Named = Named(),  # noqa: B008 - frozen
    inputs: Path | None = None,
) -> ArraySource:
    """Read the header of an array file, or the whole of a file of another program.

    Parameters
    ----------
    path
        An ``.npy`` or ``.npz`` file, one of HDF5, NetCDF 4 or MATLAB 7.3, or a Zarr store; or a
        table, a MATLAB file before 7.3, a NetCDF 3 file, a stack of images or a ``.ts`` file, which
        is read as a whole.
    key
        Name of the array inside a file of several, groups joined by dots, or of a table's column of
        targets, groups, words of a split or weights; None if there is only one.
    name
        The setting that contains the path, for messages; it says what a table is read for: inputs
        if its last word begins with x, targets with t.
    kinds
        NumPy kind letters of the accepted dtypes.
    named
        Columns of a table that are known; its targets count if the table has all of them.
    inputs
        The file of the inputs, if ``path`` holds targets: a table of both has columns of both.

    Raises
    ------
    DataError
        If the file is missing, is not such a file, or has a dtype that is not accepted.
    """
    if is_store(path):
        return _named_array(path, dict(arrays_in_store(path)), key, name, kinds)
    if not path.is_file():
        raise DataError(f"{name} must name an existing file, got {path}")
    with path.open("rb") as file:
        start = file.read(HDF5_AT + len(HDF5))
    if start.startswith(HDF5) or start.endswith(HDF5):  # MATLAB writes half a kilobyte before it
        return _open_hdf5(path, key, name, kinds)
    if ending(path) in OTHERS:
        loaded = _load_other(path, key, name, named, inputs)
        if loaded.dtype.kind not in kinds:
            raise DataError(wrong_kind(loaded.dtype, name, kinds, f" in {path.name}"))
        return loaded
    if key is not None and path.suffix == ".npy":
        raise DataError(
            f"{_key_setting(name)} names an array inside an .npz file, but {path.name} is an .npy,"
            f" which holds one alone: got {key!r}, leave it out"
        )
    try:
        member = _npz_member(path, key, name) if zipfile.is_zipfile(path) else None
        with open_member(path, member) as file:
            shape, fortran_order, dtype = read_header(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} must be an array saved by numpy.save or numpy.savez, got {path.name}:"
            f" {reason}; save it again as .npy, or let python -m hpo_utils import read it"
        ) from None
    if dtype.kind not in kinds:
        raise DataError(wrong_kind(dtype, name, kinds, f" in {path.name}"))
    return ArraySource(path, member, shape, dtype, fortran_order)


def _load_other(
    path: Path, key: str | None, name: str, named: Named, inputs: Path | None
) -> LoadedSource:
    """Read a file of another program for what the setting ``name`` says; see ``open_array``."""
    what = name.rpartition(".")[2]
    if what.startswith("x"):
        if key is not None and ending(path) in TABLES:
            raise DataError(
                f"{_key_setting(name)} names an array inside a file of several, but {path.name} is"
                f" a table: got {key!r}, leave it out"
            )
        samples = read_samples(path, replace(named, targets=()), key, option=_key_setting(name))
        labels: dict[str, Any] = {"channel_names": samples.channels}
        if samples.axis is not None:
            labels["axis_names"] = [samples.axis.name]
            labels["axis_ranges"] = [[samples.axis.first, samples.axis.last]]
        return _loaded(path, key, samples.values, labels, samples.ids, samples.remarks)
    if what.startswith("t"):
        found = _references(path, key, name, named, inputs)
        labels = {"target_names": found.names, "target_units": found.units}
        return _loaded(path, key, found.values, labels, found.ids, [])
    if ending(path) in ARRAYS:
        values = choose_array(read_arrays(path), key, _key_setting(name), path)
        return _loaded(path, key, values, {}, None, [])
    columns = read_table(path) if ending(path) in TABLES else []
    chosen = [column for column in columns if key in (None, column.name)]
    if len(chosen) != 1:
        known = ", ".join(column.name for column in columns) or "none"
        raise DataError(
            f"{_key_setting(name)} must name one of the columns of {path.name}, got {key}: {known}"
        )
    cells, numbers = chosen[0].cells, chosen[0].numbers
    return _loaded(path, key, np.array(cells) if numbers is None else numbers, {}, None, [])


def _references(
    path: Path, key: str | None, name: str, named: Named, inputs: Path | None
) -> References:
    """Return the targets that a file of another program holds."""
    if ending(path) in TABLES:
        asked = [key] if key is not None else list(named.targets)
        columns = read_table(path)
        known = {column.name for column in columns}
        told = replace(named, targets=asked if key is not None or set(asked) <= known else ())
        with_inputs = inputs is not None and inputs.resolve() == path.resolve()
        if not (with_inputs and holds_samples(path)):
            return references_among(columns, path, told)
        found = read_samples(path, told).references
    elif ending(path) in CASES:
        found = read_samples(path, named).references
    else:
        return read_references(path, key, named, _key_setting(name))
    if found is None or not found.names:
        raise DataError(f"{name} must name a file with targets, got {path.name} without any")
    return found


def _loaded(
    path: Path,
    key: str | None,
    values: NDArray[Any],
    labels: dict[str, Any],
    ids: list[str] | None,
    remarks: list[str],
) -> LoadedSource:
    return LoadedSource(
        path, key, values.shape, values.dtype, False, labels, ids, remarks, values=values
    )


def _open_hdf5(path: Path, key: str | None, name: str, kinds: str) -> ArraySource:
    """Return an array of an HDF5 file, by its name or as the only one; see ``open_array``."""
    import h5py

    found: dict[str, ArraySource] = {}

    def visit(where: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if "U" in kinds and (words := words_in(item)) is not None:
            found[where] = _loaded(path, where, words, {}, None, [])
        elif is_measured(item) and item.shape:
            turned = "MATLAB_class" in item.attrs
            packed = {*PACKED, *MISSING} & set(item.attrs)
            shape = item.shape[::-1] if turned else item.shape
            declared = as_declared(np.empty(0, item.dtype), item.attrs).dtype
            dtype = np.dtype(np.float64) if packed else declared
            found[where] = Hdf5Source(path, where, shape, dtype, turned)

    try:
        with h5py.File(path, "r") as content:
            content.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} must be a whole file, got {path.name}: {error}") from None
    dotted = {where.replace("/", "."): source for where, source in found.items()}
    chosen = _named_array(path, dotted, key, name, kinds)
    what = name.rpartition(".")[2]
    if not chosen.fortran_order or len(chosen.shape) != 2 or what.startswith("x"):
        return chosen
    if chosen.shape[0] == 1 or (chosen.shape[1] == 1 and not what.startswith("t")):
        vector = chosen.read().ravel()  # all vectors have two axes in MATLAB
        values = vector[:, None] if what.startswith("t") else vector
        return _loaded(path, chosen.key, values, {}, None, [])
    return chosen


def _named_array(
    path: Path, arrays: dict[str, ArraySource], key: str | None, name: str, kinds: str
) -> ArraySource:
    """Return the array that ``key`` names, or the only one of an accepted dtype."""
    found = {where: source for where, source in arrays.items() if source.dtype.kind in kinds}
    if key is None and len(found) == 1:
        return next(iter(found.values()))
    wanted = str(key).replace("/", ".")
    if wanted not in found:
        known = ", ".join(f"{where or 'it'} {s.shape}" for where, s in found.items()) or "none"
        raise DataError(
            f"{_key_setting(name)} must name one of the arrays of numbers in {path.name}, got"
            f" {key}: {known}"
        )
    return found[wanted]


def _npz_member(path: Path, key: str | None, name: str) -> str:
    with zipfile.ZipFile(path) as archive:
        keys = [entry.removesuffix(".npy") for entry in archive.namelist()]
    if key is None and len(keys) == 1:
        return keys[0]
    if key not in keys:
        raise DataError(
            f"{_key_setting(name)} must name one of the arrays {', '.join(keys)} in {path.name},"
            f" got {key}"
        )
    return key


def _key_setting(name: str) -> str:
    return name.replace("_train", "") + "_key"


def wrong_kind(dtype: np.dtype[Any], name: str, kinds: str, where: str = "") -> str:
    """Return the message for an array of a wrong dtype, with advice on how to convert it.

    ``kinds`` are the NumPy kind letters of the accepted dtypes, with ``U`` if names are accepted.
    """
    if "U" in kinds:
        advice = "save one of its fields" if dtype.kind == "V" else "save it with astype(str)"
        return f"{name} must hold numbers or names, got dtype {dtype}{where}: {advice}"
    of_targets = name.rpartition(".")[2].startswith("t")
    plural, v = ("targets", "t") if of_targets else ("channels", "x")
    advice = {
        "c": f"save real and imaginary part, or magnitude and phase, as two {plural}",
        "M": f"save seconds, ({v} - {v}.min()) / np.timedelta64(1, 's')",
        "m": f"save seconds, {v} / np.timedelta64(1, 's')",
        "V": f"save its fields as {plural}, np.lib.recfunctions.structured_to_unstructured({v})",
        "O": f"save np.array({v}.tolist(), dtype='float64')"
        + ("" if of_targets else "; signals of unequal length must be cut or padded to one first"),
    }.get(
        dtype.kind,
        "replace text that is no number, and decimal commas by points, then save it with"
        " astype('float64')",
    )
    return f"{name} must hold real numbers, got dtype {dtype}{where}: {advice}"
