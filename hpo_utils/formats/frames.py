"""Data frames of Parquet and R files, whose columns have types (extra ``formats``)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import R, ending
from hpo_utils.formats.sources import NUMBERS, in_one_line

Values = NDArray[Any]
ROW_NAMES = "row.names"  # what R calls them
COUNTED = 10  # shapes named in a message
MISSING_64 = np.iinfo(np.int64).min  # NA of R's package bit64


class TypedCells(Sequence[str]):
    """Cells of a column that has a type, as text when they are asked for: few ever are."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [as_text(value) for value in self._values[place]]
        return as_text(self._values[place])


def as_text(cell: object) -> str:
    """Return a cell as text, empty for no value; a whole number loses the decimals of Excel."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(float(cell))
    return str(cell)


def read_frame(path: Path) -> list[tuple[str, Values]]:
    """Return names and columns (n_rows,): whole numbers, float64 with NaN, or objects with None.

    An R file is read as one table: its data frames, matrices and vectors of one length stand side
    by side. A column of a matrix is called by the matrix and the column.

    Raises
    ------
    DataError
        If a package is missing, the file cannot be read, has no rows, or its parts do not fit.
    """
    package, read = ("rdata", _of_r) if ending(path) in R else ("fastparquet", _of_parquet)
    try:
        columns = [(name, _plain(values)) for name, values in read(path)]
    except ImportError:
        raise DataError(
            f"{path.suffix} files need the package {package}, to read {path.name}:"
            " pip install 'hpo_utils[formats]'"
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged file raises anything
        raise DataError(f"a table must be whole, got {path.name}: {in_one_line(error)}") from None
    if not columns or not len(columns[0][1]):
        raise DataError(f"a table must hold rows of values, got {path.name} with none")
    return columns


def _plain(values: Values) -> Values:
    """Return whole numbers as they are, other numbers as float64, and anything else as objects.

    R's NA is a NaN of its own, at which NumPy warns when it becomes float32.
    """
    if isinstance(values, np.ma.MaskedArray):  # whole numbers of R of which some are not known
        missing = np.ma.getmaskarray(values)
        return np.where(missing, np.nan, values.data) if missing.any() else values.data
    if values.dtype.kind not in NUMBERS:
        return values.astype(object)
    if values.dtype.kind in "iu":  # an id of many digits
        return values
    numbers = values.astype(np.float64)
    return np.where(np.isnan(numbers), np.nan, numbers)


def _of_parquet(path: Path) -> Iterator[tuple[str, Values]]:
    import pandas as pd
    from fastparquet import ParquetFile

    with path.open("rb") as file:
        frame = ParquetFile(file).to_pandas()
    counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    for name, values in frame.reset_index(drop=counts).items():
        is_known = values.notna()
        if values.dtype.kind not in NUMBERS:
            found = values.astype(object).where(is_known, None).to_numpy()
            if strange := {type(each).__name__ for each in found} & {"bytes", "list", "ndarray"}:
                raise DataError(
                    f"a column of a table must hold numbers, words or times, got {strange.pop()} in"
                    f" {name} of {path.name}"
                )
            yield str(name), found
        elif is_known.all():
            yield str(name), values.to_numpy(getattr(values.dtype, "numpy_dtype", values.dtype))
        else:
            yield str(name), values.to_numpy(np.float64, na_value=np.nan)


def _of_r(path: Path) -> Iterator[tuple[str, Values]]:
    import rdata
    from rdata.conversion import DEFAULT_CLASS_MAP

    own: dict[str | bytes, Any] = {
        "data.frame": _frame, "Date": _moments("D"), "POSIXct": _moments("s"),
        "POSIXlt": _refuse_parts_of_a_date, "integer64": _whole,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class, such as that of a formula, is not known
        parsed = rdata.parser.parse_file(path)
        content = rdata.conversion.convert(parsed, {**DEFAULT_CLASS_MAP, **own})
    parts = list(_parts(content, path.stem))
    lengths = {len(part) for _, part in parts if len(part) > 1}
    if len(lengths) > 1:
        shapes = [f"{name} {part.shape}" for name, part in parts][:COUNTED]
        raise DataError(
            f"an R file must hold one table, got parts of different lengths in {path.name}:"
            f" {', '.join(shapes)}; save one of them by saveRDS"
        )
    parts = [(name, part) for name, part in parts if len(part) in (lengths or {1})]
    if (rows := _common_names(parts, path)) is not None:
        yield ROW_NAMES, np.array(rows, dtype=object)
    seen: dict[str, Values] = {}
    for name, part in parts:
        for column, values in _columns_of(name, part):
            # two data frames may share a column; others of one name are refused later
            known = column in seen and [*map(str, seen[column])] == [*map(str, values)]
            if column != ROW_NAMES and not known:
                seen[column] = values
                yield column, values


def _frame(content: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data frame as its columns, after the names of its rows where they are words.

    pandas has no columns that are matrices.
    """
    given = [str(name) for name in attributes["names"]]
    if twice := {name for name in given if given.count(name) > 1}:
        raise DataError(f"columns of a data frame must have different names, got {sorted(twice)}")
    for name, values in content.items():
        if isinstance(values, list):
            where = f"got a list in {str(name)!r}"
            raise DataError(f"a column of a data frame must be a vector, {where}")
    names = np.asarray(attributes.get(ROW_NAMES, []))
    return {**({ROW_NAMES: names} if names.dtype.kind in "UO" else {}), **content}


def _moments(unit: str) -> Any:
    """Return the constructor of a class of moments that R counts from 1970 in days or seconds."""

    def construct(content: Any, _: Mapping[str, Any]) -> Values:
        counts = np.ma.masked_invalid(np.ma.asarray(content).astype(np.float64))
        text = counts.filled(0.0).astype(f"datetime64[{unit}]").astype(str).astype(object)
        text[np.ma.getmaskarray(counts)] = None
        return np.asarray(text)

    return construct


def _refuse_parts_of_a_date(_: Any, __: Mapping[str, Any]) -> None:
    raise DataError("a column of dates must be of the class POSIXct or Date, got POSIXlt")


def _whole(content: Any, _: Mapping[str, Any]) -> Values:
    """Return the whole numbers of bit64, which are stored in the bits of doubles."""
    found = np.asarray(content, dtype=np.float64).view(np.int64)
    return np.ma.masked_equal(found, MISSING_64)


def _parts(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the vectors and matrices of what R saved, the columns of a data frame by their own.

    R keeps variables of its own, such as ``.Random.seed``, under names with a dot before.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not str(key).startswith("."):
                yield from _parts(value, str(key))
    elif hasattr(content, "codes") and hasattr(content, "to_numpy"):  # a factor
        yield name, np.asarray(content.astype(object))
    elif getattr(content, "ndim", 0) in (1, 2):
        yield name, content


def _common_names(parts: list[tuple[str, Any]], path: Path) -> list[str] | None:
    """Return the names that all parts that name their rows give them; None if none does."""
    found = {name: rows for name, part in parts if (rows := _names_of_rows(name, part))}
    if not found:
        return None
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise DataError(
                f"the parts of an R file must name their rows alike, but {other} of {path.name} has"
                f" other names than {first}: save each by saveRDS, and name one by --targets"
            )
    return found[first]


def _names_of_rows(name: str, part: Any) -> list[str] | None:
    """Return the names that a part gives to its rows; None if it gives none, or counts them."""
    rows = part if name == ROW_NAMES else _labels(part, 0)
    if rows is None or rows.ndim != 1:
        return None
    found = [str(each) for each in np.asarray(rows)]
    return None if found == [str(k + 1) for k in range(len(found))] else found


def _labels(part: Any, axis: int) -> Any:
    """Return the names along an axis, None without any; what has names is an xarray."""
    return dict(part.coords).get(part.dims[axis]) if hasattr(part, "coords") else None


def _columns_of(name: str, part: Any) -> Iterator[tuple[str, Values]]:
    """Yield a vector, or the columns of a matrix.

    Words name columns alone, numbers after the matrix: they are places along an axis.
    """
    values = part if isinstance(part, np.ma.MaskedArray) else np.asarray(part)
    if values.ndim == 1:
        yield name, values
        return
    columns = _labels(part, 1)
    labels = range(1, values.shape[1] + 1) if columns is None else columns.values
    for number, label in enumerate(labels):
        is_word = not re.search(r"\d", str(label))
        yield str(label) if is_word else f"{name}_{label}", values[:, number]
