"""Paths and files: the project root, run directories, atomic writes."""

from __future__ import annotations

import ctypes
import io
import itertools
import json
import os
import shutil
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray

from hpo_utils.base.errors import ConfigError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # constants of renameat2(2)
MARKER = Path("params") / "default.yaml"  # marks the project root


def project_root() -> Path:
    """Return the project root: the first directory that holds ``params/default.yaml``.

    The search goes upwards from this package, so that the same notebook works under papermill
    (working directory of the caller) and JupyterLab or nbmake (directory of the notebook). If the
    package is installed elsewhere, the search goes upwards from the working directory.

    Raises
    ------
    ConfigError
        If neither directory lies inside a project.
    """
    for start in (Path(__file__).resolve().parent, Path.cwd()):
        for directory in (start, *start.parents):
            if (directory / MARKER).is_file():
                return directory
    raise ConfigError(
        f"the project root must be found from the working directory {Path.cwd()} or from the"
        f" installed package, but no parent directory holds {MARKER}: start inside the project"
    )


def resolve(path: str | Path) -> Path:
    """Return an absolute ``path`` unchanged, and any other below the project root."""
    return project_root() / Path(path).expanduser()


def relative_to_root(path: Path) -> str:
    """Return ``path`` for display: relative to the project root if it lies inside."""
    return str(path.relative_to(project_root()) if path.is_relative_to(project_root()) else path)


def writable_directory(path: str | Path, name: str) -> Path:
    """Create the directory if needed, check that it is writable, and return it.

    Raises
    ------
    ConfigError
        If it cannot be created or written to; ``name`` is the setting that holds the path.
    """
    directory = resolve(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ConfigError(
            f"{name} must be a directory that can be written to, got {path}: {error.strerror}"
        ) from None
    return directory


def new_directory(path: Path) -> Path:
    """Create and return a new directory: ``path``, or ``path-1``, ``path-2``, … if it exists.

    Missing parent directories are created. Processes that ask for the same path each get their own
    directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in itertools.count():
        directory = path.with_name(f"{path.name}-{attempt}" if attempt else path.name)
        with suppress(FileExistsError):
            directory.mkdir()
            break
    return directory


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds."""
    temporary = _beside(path)
    try:
        yield temporary
        if not temporary.is_symlink():
            _flush(temporary)  # otherwise a power cut may leave an empty file
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(directory: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty directory to fill; rename it to ``directory`` if the block succeeds.

    If ``directory`` exists by then, it is kept, since another process may have been faster; with
    ``replace`` it is replaced.
    """
    partial, old = _beside(directory), _beside(directory)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in (*partial.rglob("*"), partial):
            _flush(file)
        if replace and _exchange(partial, directory):
            return
        if replace:  # the file system cannot exchange: the directory is missing for a moment
            with suppress(FileNotFoundError):
                directory.rename(old)
        try:
            partial.rename(directory)
        except OSError:
            if not directory.is_dir():
                with suppress(OSError):
                    old.rename(directory)
                raise
        _flush(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if old.is_symlink():
            old.unlink()
        else:
            shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a directory, to disk."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:  # not every system can open a directory
        return
    try:
        with suppress(OSError):  # nor flush it
            os.fsync(opened)
    finally:
        os.close(opened)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step with Linux's renameat2(2); return whether that worked."""
    if not (sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "renameat2")):
        return False
    if not other.is_dir() or other.is_symlink():
        return False
    first, second = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return bool(library.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0)


def _beside(path: Path) -> Path:
    """Return a hidden path beside ``path`` that is unique across processes and machines."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def is_whole_archive(file: Path) -> bool:
    """Return whether all checksums of a zip archive, as PyTorch and NumPy write it, are correct."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged file can raise any error
        return False


def read_mapping(file: Path) -> dict[str, Any] | None:
    """Return the mapping in a JSON or YAML file; None if the file is missing or damaged."""
    read = json.loads if file.suffix == ".json" else yaml.safe_load
    try:
        content = read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: it appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; raise ValueError if a number is NaN or infinite."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write YAML; keep the order of the keys."""
    write_text(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))


def write_tensors(path: Path, content: Any) -> None:
    """Write what ``torch.save`` takes, atomically.

    It is laid out in memory first: on a full disk PyTorch would raise a RuntimeError of its own.
    """
    import torch  # slow, and not needed by every command

    laid_out = io.BytesIO()
    torch.save(content, laid_out)
    write_with(path, lambda file: file.write(laid_out.getbuffer()))


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write one array without pickle."""

    def save(file: BinaryIO) -> None:
        np.save(file, array, allow_pickle=False)

    write_with(path, save)


def write_with(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Call ``save`` with an open file that appears at ``path`` once it is complete."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file)
