"""Source arrays: read in pieces from NumPy, HDF5, MATLAB 7.3 and Zarr, whole from others."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import ZARR, ending

HDF5, HDF5_AT = b"\x89HDF\r\n\x1a\n", 512  # how such a file begins, or begins there
NUMBERS = "iufb"  # dtypes that are real numbers
TEXT = "SUOT"  # dtypes of words, of which those of objects may hold anything
PACKED = ("scale_factor", "add_offset")  # attributes of values that are not in units
MISSING = ("_FillValue", "missing_value")  # attributes that hold codes of missing values
DIMENSION = "_ARRAY_DIMENSIONS"  # with which xarray marks its arrays in Zarr
# what NetCDF 4 stores for an axis without coordinates, under the name NAME
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
CHUNK_BYTES = 64 * 2**20  # bytes to read at a time


@dataclass(frozen=True)
class ArraySource:
    """One numeric array in a file; only its header is read at first.

    ``key`` is the array's name inside a file of several, None for ``.npy``. ``labels`` are names,
    units and axes that the file itself gives, by their settings in ``dataset``; ``ids`` name its
    samples; ``remarks`` say what was changed in reading.
    """

    path: Path
    key: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    labels: dict[str, Any] = field(default_factory=dict)
    ids: list[str] | None = None
    remarks: list[str] = field(default_factory=list)

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time."""
        n_samples, *sample_shape = self.shape
        sample_bytes, step = self._sample_bytes, self._at_once
        if self.fortran_order:  # samples are not contiguous, so the file cannot be streamed
            whole = _load_whole(self.path, self.key)
            for start in range(0, n_samples, step):
                yield start, np.ascontiguousarray(whole[start : start + step])
            return
        with open_member(self.path, self.key) as file:
            read_header(file)
            for start in range(0, n_samples, step):
                count = min(step, n_samples - start)
                data = file.read(count * sample_bytes)
                if len(data) != count * sample_bytes:
                    raise DataError(
                        f"{self.path.name} must hold {n_samples} samples as its header says, but"
                        f" ends within sample {start + len(data) // sample_bytes}: the file is"
                        " truncated, copy it again"
                    )
                yield start, np.frombuffer(data, self.dtype).reshape(count, *sample_shape)

    @property
    def _sample_bytes(self) -> int:
        return max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)

    @property
    def _at_once(self) -> int:
        """Number of samples to read at a time."""
        return max(1, CHUNK_BYTES // self._sample_bytes)

    @property
    def n_channels(self) -> int:
        """Number of channels of inputs (N, C, ...); 1 for (N, L)."""
        return 1 if len(self.shape) == 2 else self.shape[1]

    def channel_chunks(self, n_samples: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first ``n_samples`` like ``chunks``; reshape (N, L) to (N, 1, L)."""
        for start, samples in self.chunks():
            with_channels = samples[:, None] if samples.ndim == 2 else samples
            yield start, with_channels[: n_samples - start]
            if start + len(samples) >= n_samples:
                return

    def read(self) -> NDArray[Any]:
        """Return the whole array; meant for small arrays such as targets and groups."""
        pieces = [piece for _, piece in self.chunks()]
        return np.concatenate(pieces) if pieces else np.empty(self.shape, self.dtype)

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the samples with the given numbers, which must be ascending."""
        if self.key is None:
            return np.array(_load_whole(self.path, None)[numbers])
        found = []
        for start, piece in self.chunks():
            inside = (numbers >= start) & (numbers < start + len(piece))
            found.append(piece[numbers[inside] - start])
        return np.concatenate(found)

    def stamp(self) -> dict[str, Any]:
        """Return path, key, size and mtime: a cheap way to detect that the file has changed.

        Of a folder, a number for names, sizes and times of all its files takes the time's place.
        """
        files = _files(self.path)
        status = [file.stat() for file in files]
        changed = self.path.stat().st_mtime_ns
        if self.path.is_dir():
            pairs = zip(files, status, strict=True)
            listed = [(str(file), each.st_size, each.st_mtime_ns) for file, each in pairs]
            changed = int(hashlib.sha256(repr(listed).encode()).hexdigest()[:15], 16)
        return {
            "path": str(self.path),
            "key": self.key,
            "bytes": sum(each.st_size for each in status),
            "mtime_ns": changed,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedSource(ArraySource):
    """An array of a file that is read as a whole, such as a table; ``values`` is all of it."""

    values: NDArray[Any]

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time."""
        for start in range(0, self.shape[0], self._at_once):
            yield start, self.values[start : start + self._at_once]

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the samples with the given numbers."""
        return np.asarray(self.values[numbers])


class Hdf5Source(ArraySource):
    """An array in an HDF5 file, in units; ``fortran_order`` says that MATLAB turned its axes."""

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time."""
        import h5py

        step = self._at_once
        try:
            with h5py.File(self.path, "r") as content:
                stored = content[str(self.key)]
                for start in range(0, self.shape[0], step):
                    some = slice(start, start + step)
                    piece = stored[..., some].T if self.fortran_order else stored[some]
                    yield start, np.ascontiguousarray(in_units(piece, stored.attrs))
        except OSError as error:
            raise DataError(f"{self.path.name} must be whole, but: {error}") from None


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
            attributes = _attributes(stored)
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


def is_store(path: Path) -> bool:
    """Return whether the path is a folder that Zarr wrote, by its ending."""
    return path.is_dir() and ending(path) in ZARR


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
    is_packed = bool({*PACKED, *MISSING} & set(_attributes(array)))
    dtype = np.dtype(np.float64) if is_packed else array.dtype
    return ZarrSource(path, name, array.shape, dtype, fortran_order=False)


def _attributes(array: Any) -> dict[str, Any]:
    """Return the attributes of an array in a store.

    In format 2, xarray writes the code of missing values as what is read where no chunk is.
    """
    found = dict(array.attrs)
    if array.metadata.zarr_format == 2 and DIMENSION in found and array.fill_value is not None:
        return {"_FillValue": array.fill_value, **found}
    return found


def words_in_store(path: Path) -> dict[str, NDArray[np.str_]]:
    """Return the vectors of words in a store, by their names with groups joined by dots."""
    import zarr

    root = zarr.open(path, mode="r")
    members = {} if isinstance(root, zarr.Array) else dict(root.members(max_depth=None))
    found = {
        name.replace("/", "."): as_words(np.asarray(each[:]))
        for name, each in members.items()
        if isinstance(each, zarr.Array) and each.dtype.kind in TEXT and each.ndim == 1
    }
    return {name: words for name, words in found.items() if words is not None}


def as_words(values: NDArray[Any]) -> NDArray[np.str_] | None:
    """Return the words (n_samples,) of an array of text or bytes; None if it holds none.

    Single letters (n_samples, length), as NetCDF 3 stores words, are put together.
    """
    if values.dtype.kind == "S" and values.dtype.itemsize == 1 and values.ndim == 2:
        values = np.ascontiguousarray(values).view(f"S{values.shape[1]}")[:, 0]
    if values.ndim != 1:
        return None
    cells = [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values
    ]
    return np.array(cells, dtype=str) if all(isinstance(each, str) for each in cells) else None


def is_measured(dataset: Any) -> bool:
    """Return whether an HDF5 dataset holds numbers, and not only the length of an axis."""
    name = np.asarray(dataset.attrs.get("NAME", b"")).tobytes()
    is_array = dataset.dtype.kind in NUMBERS and dataset.shape is not None
    return is_array and NO_VARIABLE not in name


def words_in(dataset: Any) -> NDArray[np.str_] | None:
    """Return the words of an HDF5 dataset; None if it holds none."""
    import h5py

    if not dataset.shape or h5py.check_string_dtype(dataset.dtype) is None:
        return None
    return as_words(dataset[()])


def as_declared(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Return integers as unsigned ones, if an attribute says so.

    NetCDF 3 knows no unsigned integers (NetCDF User Guide, appendix A).
    """
    told = str(np.asarray(attributes.get("_Unsigned", "")).astype(str)).lower()
    if told != "true" or values.dtype.kind != "i":
        return values
    return values.view(values.dtype.str.replace("i", "u"))


def in_units(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Return packed values in units, NaN for missing ones (CF conventions 1.11, sec. 2.5, 8.1).

    Raises
    ------
    DataError
        If scale or offset differ among the channels.
    """
    stored, values = values.dtype, as_declared(values, attributes)
    missing = np.zeros(values.shape, dtype=bool)
    for name in MISSING:
        if name in attributes:
            codes = np.asarray(attributes[name])
            if values.dtype != stored == codes.dtype:  # written as the values were
                codes = codes.view(values.dtype)
            missing |= np.isin(values, codes)
    packed = set(PACKED) & set(attributes)
    if not packed and not missing.any():
        return values
    if several := [name for name in packed if np.size(attributes[name]) != 1]:
        raise DataError(
            f"{several[0]} must be one number, got {np.ravel(attributes[several[0]])[:3].tolist()}:"
            " write the values in their units"
        )
    factor, offset = (
        float(np.ravel(attributes[name])[0]) if name in attributes else neutral
        for name, neutral in zip(PACKED, (1.0, 0.0), strict=True)
    )
    found = np.asarray(values.astype(np.float64) * factor + offset)
    found[missing] = np.nan
    return found


def in_one_line(error: Exception) -> str:
    """Return what a library says of a file that it cannot read, cut short."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, read piece by piece.

    That of a folder is of its files' names and digests, in the format of ``sha256sum``.
    """
    if path.is_dir():
        lines = [f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> list[Path]:
    """Return the files of a folder in the order of their names, or the file itself."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def describe(source: ArraySource) -> dict[str, Any]:
    """Return the source's stamp with its shape, dtype and digest, for the manifest."""
    return {
        **source.stamp(),
        "shape": list(source.shape),
        "dtype": str(source.dtype),
        "sha256": sha256(source.path),
    }


def open_member(path: Path, key: str | None) -> IO[bytes]:
    """Open a stream of an ``.npy`` file or of one array of an ``.npz`` file."""
    if key is None:
        return path.open("rb")
    # the archive stays open as long as the stream of its member
    return zipfile.ZipFile(path).open(f"{key}.npy")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype of an ``.npy`` stream."""
    version = npy_format.read_magic(file)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    return npy_format.read_array_header_2_0(file)


def _load_whole(path: Path, key: str | None) -> NDArray[Any]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    array: NDArray[Any] = loaded if key is None else loaded[key]
    return array
