"""Where things are and how files appear: the project root, the run directories, atomic writes."""

from __future__ import annotations

import ctypes
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

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)
MARKER = Path("params") / "default.yaml"  # its presence makes a directory the project root


def project_root() -> Path:
    """Return the project root: the first directory that holds ``params/default.yaml``.

    Looked for upwards from this package, so that the same notebook works under papermill (working
    directory of the caller) and JupyterLab or nbmake (directory of the notebook); only if the
    package is installed elsewhere, from the working directory.

    Raises
    ------
    ConfigError
        If neither lies inside a project.
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
    """Return ``path`` as it is if absolute, else below the project root."""
    return project_root() / Path(path).expanduser()


def relative_to_root(path: Path) -> str:
    """Return ``path`` as it is best shown to a person: relative to the project root if inside."""
    return str(path.relative_to(project_root()) if path.is_relative_to(project_root()) else path)


def writable_directory(path: str | Path, name: str) -> Path:
    """Return the directory, made if need be, after trying to write to it.

    Raises
    ------
    ConfigError
        If that cannot be; ``name`` is the setting that names it.
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
    """Make a directory, and those above it, and return it: ``path``, or ``path-1`` if it is there.

    Several processes that want the same name get one each.
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
    """Give a temporary path beside ``path`` to write to; rename it when the block ends well."""
    temporary = _beside(path)
    try:
        yield temporary
        if not temporary.is_symlink():
            _flush(temporary)  # else after a power cut the name may stand for an empty file
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(directory: Path, replace: bool = False) -> Iterator[Path]:
    """Give an empty directory to fill, that takes its name only when the block ends well.

    A directory that is there by then stays, since another process may have been faster; or gives
    way with ``replace``.
    """
    partial, old = _beside(directory), _beside(directory)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in (*partial.rglob("*"), partial):
            _flush(file)
        if replace and _exchange(partial, directory):
            return
        if replace:  # a file system that cannot: for a moment there is none
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
    """Have a file, or the names in a directory, reach the disk."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:  # a directory cannot be opened everywhere
        return
    try:
        with suppress(OSError):  # nor flushed
            os.fsync(opened)
    finally:
        os.close(opened)


def _exchange(one: Path, other: Path) -> bool:
    """Return whether two directories changed names in one step, as Linux can (renameat2(2))."""
    if not (sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "renameat2")):
        return False
    if not other.is_dir() or other.is_symlink():
        return False
    first, second = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return bool(library.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0)


def _beside(path: Path) -> Path:
    """Return a hidden path that no other process has, on whatever machine it writes there."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def is_whole_archive(file: Path) -> bool:
    """Return whether every part of a zip archive, as PyTorch and NumPy write, has its check sum."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # whatever a damaged file leads to
        return False


def read_mapping(file: Path) -> dict[str, Any] | None:
    """Return the content of a JSON or YAML file of ours; None if it is missing or damaged."""
    read = json.loads if file.suffix == ".json" else yaml.safe_load
    try:
        content = read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON without NaN or infinity: a number that is not finite raises ValueError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write YAML in the order of the keys."""
    write_text(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write one array without pickle."""

    def save(file: BinaryIO) -> None:
        np.save(file, array, allow_pickle=False)

    write_with(path, save)


def write_with(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Let ``save`` write to an open file that appears at ``path`` when it is whole."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file)
