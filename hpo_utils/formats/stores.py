"""Arrays in Zarr stores, which are folders, read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import ZARR, ending
from hpo_utils.formats.sources import (
    MISSING,
    NUMBERS,
    PACKED,
    ArraySource,
    in_one_line,
    in_units,
)


def is_store(path: Path) -> bool:
    """Return whether the path is a folder that Zarr wrote, by its ending."""
    return path.is_dir() and ending(path) in ZARR


@dataclass(frozen=True)
class ZarrSource(ArraySource):
    """An array in a Zarr store, in units; ``key`` is empty for that of the store itself."""

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time.

        Raises
        ------
        DataError
            If a chunk is damaged. If one is not there, unless what it reads as counts as missing:
            Zarr leaves out chunks that hold its fill value alone, often zero, so that one that was
            never written cannot be told from measured zeros.
        """
        import zarr

        step, name = self._at_once, self.path.name
        try:
            stored = zarr.open_array(self.path, path=str(self.key), mode="r")
            absent = stored.nchunks - stored.nchunks_initialized
            attributes = dict(stored.attrs)
            filled = in_units(np.array([stored.fill_value or 0]), attributes)
            if not absent or np.isnan(filled).all():
                for start in range(0, self.shape[0], step):
                    yield start, in_units(np.asarray(stored[start : start + step]), attributes)
                return
        except Exception as error:  # a damaged chunk raises what its codec does
            raise DataError(f"{name} must be whole, but: {in_one_line(error)}") from None
        raise DataError(
            f"every chunk of {self.key or 'the array'} in {name} must be there, but {absent} of"
            f" {stored.nchunks} are not and would read as {filled[0]:g}: write them with zarr's"
            " array.write_empty_chunks, or save the array as .npy"
        )


def arrays_in_store(path: Path) -> dict[str, ZarrSource]:
    """Return the arrays of numbers in a store, by their names with groups joined by dots.

    Raises
    ------
    DataError
        If the folder is no Zarr store, or the package is not installed.
    """
    try:
        import zarr
    except ImportError:
        raise DataError(
            f".zarr stores need a package, to read {path.name}: pip install 'hpo_utils[formats]'"
        ) from None
    try:
        root = zarr.open(path, mode="r")
        named = {"": root} if isinstance(root, zarr.Array) else dict(root.members(max_depth=None))
        return {
            name.replace("/", "."): _source(path, name, each)
            for name, each in named.items()
            if isinstance(each, zarr.Array) and each.dtype.kind in NUMBERS and each.shape
        }
    except Exception as error:  # what is damaged raises anything
        raise DataError(
            f"a .zarr folder must be whole, got {path.name}: {in_one_line(error)}"
        ) from None


def _source(path: Path, name: str, array: Any) -> ZarrSource:
    is_packed = bool({*PACKED, *MISSING} & set(array.attrs))
    dtype = np.dtype(np.float64) if is_packed else array.dtype
    return ZarrSource(path, name, array.shape, dtype, fortran_order=False)
