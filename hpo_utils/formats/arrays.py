"""Arrays by name in ``.npy``, ``.npz``, MATLAB (v5 to v7.3), HDF5, NetCDF, Zarr and TIFF files.

MATLAB writes the fields of a struct and HDF5 its groups: here they are dotted names. Objects of
MATLAB's newer classes are refused, because readers turn them into something else without a word.
A DataSet Object of PLS_Toolbox is its values, with ``axisscale`` and ``label`` of its columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import HDF5, MATLAB, NUMPY, TIFF, ZARR, ending
from hpo_utils.formats.sources import (
    NUMBERS,
    arrays_in_store,
    as_words,
    in_one_line,
    in_units,
    is_measured,
    is_store,
    words_in,
    words_in_store,
)

OBJECT = 0xDD000000  # with which MATLAB marks a reference to an object in a file of version 7.3
DATASET = {"data", "include", "axisscale", "label"}  # fields that make a DataSet Object
Array = NDArray[Any]
MAX_LISTED = 12  # arrays in a message
UNREAD = (
    ": cells of numbers, arrays of structs, compound types and complex numbers are not read, save"
    " them as arrays of real numbers"
)


def read_arrays(path: Path, *, with_text: bool = False) -> dict[str, Array]:
    """Return the numeric arrays of a file by their dotted names; that of ``.npy`` has none.

    ``with_text`` adds the vectors of text, such as names of samples or columns.

    Vectors that MATLAB stores as columns or rows have one axis. Arrays of HDF5 and NetCDF files are
    in their units, with NaN where a value is missing.

    Raises
    ------
    DataError
        If the file cannot be read or holds no numeric array.
    """
    suffix = ending(path)
    if not (path.is_file() or is_store(path)):
        raise DataError(f"a file of arrays must exist, got {path}")
    try:
        if suffix in NUMPY:
            with path.open("rb") as file:
                loaded = np.load(file, allow_pickle=False)
                found = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        elif suffix in MATLAB:
            found = dict(_of_matlab(path))
        elif suffix in TIFF:
            found = dict(_of_tiff(path))
        elif suffix in ZARR:
            found = {name: source.read() for name, source in arrays_in_store(path).items()}
            found |= words_in_store(path) if with_text else {}
        else:
            found = dict(_of_hdf5(path))
    except DataError:
        raise
    except ImportError:
        raise DataError(
            f"{suffix} files need a package, to read {path.name}: pip install 'hpo_utils[formats]'"
        ) from None
    except Exception as error:  # a damaged file raises anything
        raise DataError(
            f"a file of arrays must be whole, got {path.name}: {in_one_line(error)}"
        ) from None
    if not any(array.dtype.kind in NUMBERS for array in found.values()):
        raise DataError(f"a file of arrays must hold numbers, got {path.name} without any{UNREAD}")
    if with_text:
        words = {name: as_words(each) for name, each in found.items() if each.dtype.kind in "SU"}
        found |= {name: each for name, each in words.items() if each is not None}
    kinds = NUMBERS + ("U" if with_text else "")
    return {name: array for name, array in found.items() if array.dtype.kind in kinds}


def choose_array(arrays: Mapping[str, Array], key: str | None, option: str, path: Path) -> Array:
    """Return the array that ``key`` names, or the only one of at least two values.

    ``option`` is the option of the command line that gives the key, for the message.
    """
    arrays = {name: array for name, array in arrays.items() if array.dtype.kind in NUMBERS}
    listed = [f"{n or 'it'} {a.shape}" for n, a in arrays.items() if a.size > 1]
    known = ", ".join(listed[:MAX_LISTED]) + (", …" if len(listed) > MAX_LISTED else "")
    if key is not None:
        dotted = key if key in arrays else key.strip("/").replace("/", ".")
        if dotted not in arrays:
            raise DataError(f"{option} must name an array of {path.name}, got {key!r}: {known}")
        return arrays[dotted]
    candidates = [array for array in arrays.values() if array.size > 1]
    if len(candidates) != 1:
        raise DataError(f"{option} must say which array of {path.name} is meant: {known}")
    return candidates[0]


def attributes_of(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield owner, name and value of what an HDF5 file tells of itself, its groups and arrays.

    Values are numbers, or text of one word or several.
    """
    if ending(path) not in HDF5 or _is_classic(path):
        return
    import h5py

    found: list[tuple[str, str, Any]] = []

    def visit(owner: str, item: Any) -> None:
        found.extend((owner.replace("/", "."), *each) for each in item.attrs.items())

    with h5py.File(path, "r") as content:
        visit("", content)
        content.visititems(visit)
    for owner, name, value in found:
        if isinstance(value, str):
            yield owner, name, value
        elif np.size(value) == 1 and np.asarray(value).dtype.kind in "iuf":
            yield owner, name, float(np.ravel(value)[0])


def _is_classic(path: Path) -> bool:
    """Return whether a file is of NetCDF's own format, before HDF5."""
    with path.open("rb") as file:
        return file.read(3) == b"CDF"


def _of_matlab(path: Path) -> Iterator[tuple[str, Array]]:
    import pymatreader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # objects are named below instead
        content = pymatreader.read_mat(str(path))
    yield from _flat(content, "", path)


def _flat(content: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, Array]]:
    for name, value in content.items():
        dotted = f"{prefix}{name}"
        if str(name).startswith("__"):  # header, version and globals
            continue
        if name in ("None", "#subsystem#") or value is None or _is_object(value):
            raise DataError(
                f"a MATLAB file must hold arrays and structs, but {path.name} holds an object"
                f" (table, datetime or string) at {dotted!r}: save table2array, posixtime or char"
                " of it, or read it with the package mat-io"
            )
        if isinstance(value, Mapping) and value.keys() >= DATASET:
            yield from _of_dataset(value, dotted)
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{dotted}.", path)
        elif isinstance(value, np.ndarray | int | float | np.number | bool):
            array = np.asarray(value)
            is_vector = array.ndim == 2 and 1 in array.shape
            yield dotted, array.ravel() if is_vector else array
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):  # a cellstr
            yield dotted, np.array(value, dtype=str)


def _of_dataset(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, Array]]:
    """Yield values (n_samples, n_columns) of a DataSet Object, and what its columns are.

    Its ``include`` counts from one. Samples that it leaves out are NaN, so that the others still
    stand in the rows of other objects; columns that it leaves out are not there.
    """
    values = np.array(content["data"], dtype=np.float64)
    values = values.reshape(len(values), -1)
    rows, columns = (_first_set(content["include"][axis]).astype(int) - 1 for axis in (0, 1))
    values[np.setdiff1d(np.arange(len(values)), rows)] = np.nan
    yield name, values[:, columns]
    for field in ("axisscale", "label"):
        told = _first_set(content[field][1])
        if told.shape == (values.shape[1],):
            yield f"{name}.{field}", told[columns]


def _first_set(cell: Any) -> Array:
    """Return what a DataSet Object tells of one axis, of the first of its sets."""
    told = np.atleast_1d(cell[0] if isinstance(cell, list) else cell)
    return np.char.strip(told) if told.dtype.kind == "U" else told


def _is_object(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint32
        and value.size >= 1
        and int(value.flat[0]) == OBJECT
    )


def _of_tiff(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield each series of pages: one stack, or several images that were written one by one."""
    import tifffile

    with tifffile.TiffFile(path) as content:
        series = [each.asarray() for each in content.series]
    if len({(each.shape, each.dtype) for each in series}) == 1:
        yield "", series[0] if len(series) == 1 else np.stack(series)
        return
    for number, each in enumerate(series):
        yield str(number), each


def _of_hdf5(path: Path) -> Iterator[tuple[str, Array]]:
    if _is_classic(path):
        yield from _of_classic_netcdf(path)
        return
    import h5py

    found: dict[str, Array] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if is_measured(item):
            found[name.replace("/", ".")] = in_units(item[()], item.attrs)
        elif (words := words_in(item)) is not None:
            found[name.replace("/", ".")] = words

    with h5py.File(path, "r") as content:
        content.visititems(visit)
    yield from found.items()


def _of_classic_netcdf(path: Path) -> Iterator[tuple[str, Array]]:
    from scipy.io import netcdf_file

    with netcdf_file(path, "r", mmap=False) as content:
        for name, variable in content.variables.items():
            values = np.array(variable.data)
            yield (
                name,
                in_units(values.astype(values.dtype.newbyteorder("=")), variable._attributes),
            )
