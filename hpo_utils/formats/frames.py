"""Data frames of Parquet and R files, whose columns have types (extra ``formats``)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import R, ending
from hpo_utils.formats.sources import NUMBERS, in_one_line

Values = NDArray[Any]
ROW_NAMES = "row.names"  # what R calls them
COUNTED = 10  # shapes named in a message


def read_frame(path: Path) -> dict[str, Values]:
    """Return the columns (n_rows,) of a file: float64 with NaN, or objects with None for no value.

    An R file is read as one table: its data frames, matrices and vectors of one length stand side
    by side. A column of a matrix is called by the matrix and the column.

    Raises
    ------
    DataError
        If a package is missing, the file cannot be read, has no rows, or its parts do not fit.
    """
    package, read = ("rdata", _of_r) if ending(path) in R else ("fastparquet", _of_parquet)
    columns: dict[str, Values] = {}
    try:
        for name, values in read(path):
            if name in columns:
                raise _named_twice(name, path)
            columns[name] = _plain(values)
    except ImportError:
        raise DataError(
            f"{path.suffix} files need the package {package}, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged file raises anything
        raise DataError(f"a table must be whole, got {path.name}: {in_one_line(error)}") from None
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"a table must hold rows of values, got {path.name} with none")
    return columns


def _named_twice(name: str, path: Path) -> DataError:
    return DataError(
        f"columns of a table must have different names, got {name!r} twice in {path.name}"
    )


def _plain(values: Values) -> Values:
    """Return numbers as float64, and anything else as objects.

    R's NA is a NaN of its own, at which NumPy warns when it becomes float32.
    """
    if isinstance(values, np.ma.MaskedArray):  # whole numbers of R of which some are not known
        return np.where(np.ma.getmaskarray(values), np.nan, values.data)
    if values.dtype.kind not in NUMBERS:
        return values.astype(object)
    numbers = values.astype(np.float64)
    return np.where(np.isnan(numbers), np.nan, numbers)


def _of_parquet(path: Path) -> Iterator[tuple[str, Values]]:
    from fastparquet import ParquetFile

    with path.open("rb") as file:
        frame = ParquetFile(file).to_pandas()
    for name, values in frame.reset_index(drop=True).items():
        if values.dtype.kind in NUMBERS:
            yield str(name), values.to_numpy(np.float64, na_value=np.nan)
        else:
            yield str(name), values.astype(object).where(values.notna(), None).to_numpy()


def _of_r(path: Path) -> Iterator[tuple[str, Values]]:
    import rdata
    from rdata.conversion import DEFAULT_CLASS_MAP

    # pandas has no columns that are matrices
    own: dict[str | bytes, Any] = {"data.frame": _frame, "Date": _days, "POSIXct": _seconds}
    classes = {**DEFAULT_CLASS_MAP, **own}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class, such as that of a formula, is not known
        content = rdata.conversion.convert(rdata.parser.parse_file(path), classes)
    found: dict[str, Any] = {}
    for name, part in _parts(content, ""):
        if name in found and not np.array_equal(found[name], part):
            raise _named_twice(name, path)
        found[name] = part
    lengths = {len(part) for part in found.values() if len(part) > 1}
    if len(lengths) > 1:
        shapes = [f"{name or 'it'} {part.shape}" for name, part in found.items()][:COUNTED]
        raise DataError(
            f"an R file must hold one table, got parts of different lengths in {path.name}:"
            f" {', '.join(shapes)}; save one of them by saveRDS"
        )
    for name, part in found.items():
        if len(part) in (lengths or {1}):
            yield from _columns_of(name, part)


def _frame(content: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data frame as its columns, after the names of its rows where they are words."""
    names = np.asarray(attributes.get(ROW_NAMES, []))
    return {**({ROW_NAMES: names} if names.dtype.kind in "UO" else {}), **content}


def _days(content: Values, _: Mapping[str, Any]) -> Values:
    return np.asarray(content).astype("datetime64[D]").astype(str)


def _seconds(content: Values, _: Mapping[str, Any]) -> Values:
    return np.asarray(content).astype("datetime64[s]").astype(str)


def _parts(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the vectors and matrices of what R saved, the columns of a data frame by their own."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _parts(value, str(key))
    elif hasattr(content, "codes") and hasattr(content, "to_numpy"):  # a factor
        yield name, content.to_numpy()
    elif getattr(content, "ndim", 0) in (1, 2):
        yield name, content


def _columns_of(name: str, part: Any) -> Iterator[tuple[str, Values]]:
    """Yield a vector, or the columns of a matrix, which is an xarray if it has names.

    Words name columns alone, numbers after the matrix: they are places along an axis.
    """
    values = part if isinstance(part, np.ma.MaskedArray) else np.asarray(part)
    if values.ndim == 1:
        yield name, values
        return
    given = dict(getattr(part, "coords", {}))
    rows, columns = (given.get(dim) for dim in getattr(part, "dims", ("", "")))
    if rows is not None and rows.values.tolist() != [str(k + 1) for k in range(len(values))]:
        yield f"{name} {ROW_NAMES}".strip(), rows.values
    labels = range(1, values.shape[1] + 1) if columns is None else columns.values
    for number, label in enumerate(labels):
        is_word = columns is not None and not re.search(r"\d", str(label))
        yield str(label) if is_word else f"{name} {label}".strip(), values[:, number]
