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
from hpo_utils.formats.sources import MISSING, NUMBERS, PACKED, ArraySource, in_units


def is_store(path: Path) -> bool:
    """Return whether the path is a folder that Zarr wrote, by its ending."""
    return path.is_dir() and ending(path) in ZARR


@dataclass(frozen=True)
class ZarrSource(ArraySource):
    """An array in a Zarr store, in units; ``key`` is empty for that of the store itself."""

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time."""
        import zarr

        step = self._at_once
        try:
            stored = zarr.open_array(self.path, path=str(self.key), mode="r")
            attributes = dict(stored.attrs)
            for start in range(0, self.shape[0], step):
                yield start, in_units(np.asarray(stored[start : start + step]), attributes)
        except Exception as error:  # a damaged chunk raises what its codec does
            raise DataError(f"{self.path.name} must be whole, but: {_said(error)}") from None

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the samples with the given numbers, which must be ascending."""
        found = []
        for start, piece in self.chunks():
            inside = (numbers >= start) & (numbers < start + len(piece))
            found.append(piece[numbers[inside] - start])
        return np.concatenate(found)


def arrays_in_store(path: Path) -> dict[str, ZarrSource]:
    """Return the arrays of numbers in a store, by their names with groups joined by dots.

    Zarr leaves chunks out that hold its fill value alone, so one that was never written cannot be
    told from such a chunk: a remark counts them.

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
        arrays = {name: each for name, each in named.items() if isinstance(each, zarr.Array)}
        found = {
            name.replace("/", "."): _source(path, name, each)
            for name, each in arrays.items()
            if each.dtype.kind in NUMBERS and each.shape
        }
    except Exception as error:  # what is damaged raises anything
        raise DataError(f"a .zarr folder must be whole, got {path.name}: {_said(error)}") from None
    return found


def gaps_of_store(path: Path, key: str | None) -> list[str]:
    """Return what there is to say of an array in a store, or of all; nothing of other files."""
    if not is_store(path):
        return []
    chosen = {name: each for name, each in arrays_in_store(path).items() if key in (None, name)}
    return [remark for source in chosen.values() for remark in source.remarks]


def _source(path: Path, name: str, array: Any) -> ZarrSource:
    is_packed = bool({*PACKED, *MISSING} & set(array.attrs))
    dtype = np.dtype(np.float64) if is_packed else array.dtype
    missing = array.nchunks - array.nchunks_initialized
    remarks = [
        f"{missing} of {array.nchunks} chunks of {path.name} are not there and read as"
        f" {array.fill_value:g}, as Zarr has it"
    ] * (missing > 0)
    return ZarrSource(path, name, array.shape, dtype, fortran_order=False, remarks=remarks)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
