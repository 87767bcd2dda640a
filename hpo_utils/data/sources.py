"""Source arrays: open NumPy, HDF5 and MATLAB 7.3 files and read them in pieces, without pickle."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError

HDF5, HDF5_AT = b"\x89HDF\r\n\x1a\n", 512  # how such a file begins, or begins there
NUMBERS = "iufb"  # dtypes that are real numbers
PACKED = ("scale_factor", "add_offset")  # attributes of values that are not in units
MISSING = ("_FillValue", "missing_value")  # attributes that hold codes of missing values
CHUNK_BYTES = 64 * 2**20  # bytes to read at a time


@dataclass(frozen=True)
class ArraySource:
    """One numeric array in a file; only its header is read at first.

    ``key`` is the array's name inside a file of several, None for ``.npy``.
    """

    path: Path
    key: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (index of the first sample, samples) in order, about ``CHUNK_BYTES`` at a time."""
        n_samples, *sample_shape = self.shape
        sample_bytes, step = self._sample_bytes, self._at_once
        if self.fortran_order:  # samples are not contiguous, so the file cannot be streamed
            whole = _load_whole(self.path, self.key)
            for start in range(0, n_samples, step):
                yield start, np.ascontiguousarray(whole[start : start + step])
            return
        with _open_member(self.path, self.key) as file:
            _read_header(file)
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
        """Return path, key, size and mtime: a cheap way to detect that the file has changed."""
        status = self.path.stat()
        return {
            "path": str(self.path),
            "key": self.key,
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }


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


def _open_hdf5(path: Path, key: str | None, name: str, kinds: str) -> Hdf5Source:
    """Return an array of an HDF5 file, by its name or as the only one; see ``open_array``."""
    import h5py

    found: dict[str, Hdf5Source] = {}

    def visit(where: str, item: Any) -> None:
        if (
            isinstance(item, h5py.Dataset)
            and item.dtype.kind in set(kinds) & set(NUMBERS)
            and item.shape
        ):
            turned = "MATLAB_class" in item.attrs
            packed = {*PACKED, *MISSING} & set(item.attrs)
            shape = item.shape[::-1] if turned else item.shape
            dtype = np.dtype(np.float64) if packed else item.dtype
            found[where] = Hdf5Source(path, where, shape, dtype, turned)

    try:
        with h5py.File(path, "r") as content:
            content.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} must be a whole file, got {path.name}: {error}") from None
    if key is None and len(found) == 1:
        return next(iter(found.values()))
    wanted = str(key) if key in found else str(key).replace(".", "/")
    if wanted not in found:
        known = ", ".join(f"{n.replace('/', '.')} {s.shape}" for n, s in found.items()) or "none"
        raise DataError(
            f"{_key_setting(name)} must name one of the arrays of numbers in {path.name}, got"
            f" {key}: {known}"
        )
    return found[wanted]


def in_units(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Return packed values in units, NaN for missing ones (CF conventions 1.11, sec. 2.5, 8.1)."""
    missing = np.zeros(values.shape, dtype=bool)
    for name in MISSING:
        if name in attributes:
            missing |= np.isin(values, np.asarray(attributes[name]))
    packed = set(PACKED) & set(attributes)
    if not packed and not missing.any():
        return values
    factor, offset = (
        float(np.ravel(attributes[name])[0]) if name in attributes else neutral
        for name, neutral in zip(PACKED, (1.0, 0.0), strict=True)
    )
    found = values.astype(np.float64) * factor + offset
    found[missing] = np.nan
    return found


def open_array(path: Path, key: str | None, name: str, kinds: str = NUMBERS) -> ArraySource:
    """Read the header of an array file.

    Parameters
    ----------
    path
        An ``.npy`` or ``.npz`` file, or one of HDF5, NetCDF 4 or MATLAB 7.3.
    key
        Name of the array inside a file of several, groups joined by dots; None if it holds only
        one.
    name
        The setting that contains the path, for messages.
    kinds
        NumPy kind letters of the accepted dtypes.

    Raises
    ------
    DataError
        If the file is missing, is not such a file, or has a dtype that is not accepted.
    """
    if not path.is_file():
        raise DataError(f"{name} must name an existing .npy or .npz file, got {path}")
    with path.open("rb") as file:
        start = file.read(HDF5_AT + len(HDF5))
    if start.startswith(HDF5) or start.endswith(HDF5):  # MATLAB writes half a kilobyte before it
        return _open_hdf5(path, key, name, kinds)
    if key is not None and path.suffix == ".npy":
        raise DataError(
            f"{_key_setting(name)} names an array inside an .npz file, but {path.name} is an .npy,"
            f" which holds one alone: got {key!r}, leave it out"
        )
    try:
        member = _npz_member(path, key, name) if zipfile.is_zipfile(path) else None
        with _open_member(path, member) as file:
            shape, fortran_order, dtype = _read_header(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} must be an array saved by numpy.save or numpy.savez, got {path.name}:"
            f" {reason}; save it again as .npy, or let python -m hpo_utils import read it"
        ) from None
    if dtype.kind not in kinds:
        raise DataError(wrong_kind(dtype, name, kinds, f" in {path.name}"))
    return ArraySource(path, member, shape, dtype, fortran_order)


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


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(source: ArraySource) -> dict[str, Any]:
    """Return the source's stamp with its shape, dtype and digest, for the manifest."""
    known = asdict(source)
    return {
        **source.stamp(),
        "shape": list(known["shape"]),
        "dtype": str(source.dtype),
        "sha256": sha256(source.path),
    }


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


def _open_member(path: Path, key: str | None) -> IO[bytes]:
    """Open a stream of an ``.npy`` file or of one array of an ``.npz`` file."""
    if key is None:
        return path.open("rb")
    # the archive stays open as long as the stream of its member
    return zipfile.ZipFile(path).open(f"{key}.npy")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    return npy_format.read_array_header_2_0(file)


def _load_whole(path: Path, key: str | None) -> NDArray[Any]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    array: NDArray[Any] = loaded if key is None else loaded[key]
    return array
