"""Import: measured files and a table of reference values become arrays and a params file.

The originals are only read. Everything is written into a new directory: ``x_train.npy``,
``t_train.npy``, ``groups.npy`` if several samples come from one recording, ``<name>.yaml`` with
names and units, and ``sources.json`` with the SHA-256 digest of every file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.base.formatting import with_units
from hpo_utils.base.paths import (
    relative_to_root,
    whole_directory,
    write_json,
    write_npy,
    write_text,
)
from hpo_utils.data.split import n_folds_of, part_words
from hpo_utils.formats.axes import Axis, same_rate
from hpo_utils.formats.endings import OPUS, RECORDINGS, TABLES, TIFF, ending
from hpo_utils.formats.recordings import Loaders, Recording, read_recording, recordings_by_id
from hpo_utils.formats.references import References, first_of
from hpo_utils.formats.samples import holds_samples
from hpo_utils.formats.sources import is_store, sha256
from hpo_utils.importing.joining import followed_by, references_of, samples_of
from hpo_utils.importing.request import Request
from hpo_utils.importing.windows import at_rate, cut

SOURCES = "sources.json"
HIDDEN = (".", "~$")  # begin the names of what file managers and open programs leave
HEADER = """# Written by `python -m hpo_utils import`. Search with it:
# python -m hpo_utils run --params-file {path}

"""


@dataclass
class Imported:
    """What was understood and written: for the params file, and to be said."""

    directory: Path
    sources: list[Path]
    n_samples: int = 0
    sample_shape: tuple[int, ...] = ()
    channels: list[str] = field(default_factory=list)
    axis: Axis | None = None
    target_names: list[str] = field(default_factory=list)
    target_units: list[str] = field(default_factory=list)
    n_groups: int | None = None
    n_short: int = 0  # recordings that are shorter than a window
    n_of_part: dict[str, int] = field(default_factory=dict)
    n_folds: int | None = None
    has_weights: bool = False
    partly_measured: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def params_file(self) -> Path:
        """The params file."""
        return self.directory / f"{self.directory.name}.yaml"

    def sentences(self) -> list[str]:
        """Return what was understood, a line each."""
        ending = "" if self.n_groups == 1 else "s"
        groups = "" if self.n_groups is None else f" in {self.n_groups} group{ending}"
        lines = [
            f"{self.n_samples} samples{groups} of shape {self.sample_shape}:"
            f" {', '.join(self.channels)}",
            f"targets: {', '.join(with_units(self.target_names, self.target_units))}",
        ]
        if self.axis is not None:
            lines.append(f"{self.axis.name} from {self.axis.first:g} to {self.axis.last:g}")
        if self.n_of_part:
            parts = ", ".join(f"{n} in {part}" for part, n in self.n_of_part.items())
            lines.append(f"given split: {parts}")
        return [*lines, *self.remarks, f"next: {command(self.params_file)}"]


def command(params_file: Path) -> str:
    """Return the command that searches with a params file."""
    return f"python -m hpo_utils run --params-file {relative_to_root(params_file)}"


def import_files(request: Request) -> Imported:
    """Read the files and write the arrays and the params file.

    One table or array holds all samples; several files, or a folder, are recordings, of which each
    has a row in the table of targets.

    Raises
    ------
    DataError
        If a file cannot be read or joined; then nothing has been written.
    """
    if request.out.exists() and not (request.replace and (request.out / SOURCES).is_file()):
        raise DataError(
            f"--out must name a new directory, got {request.out}: choose another name, or write"
            " over an earlier import by --replace"
        )
    files = _listed(request.files, request.targets)
    asked = [request.targets, request.test, request.test_targets]
    sources = [*files, *(path for path in asked if path is not None)]
    found = Imported(request.out, sources)
    with whole_directory(request.out, replace=request.out.exists()) as directory:
        if loaders := _recordings(request, files):
            if request.of_test is not None:
                raise DataError(
                    "the test part must come from a file of samples, got recordings: tell the"
                    " parts by a column of the table of targets"
                )
            _import_recordings(request, loaders, found, directory)
        else:
            _import_samples(request, files, found, directory)
        digests = {str(path): sha256(path) for path in dict.fromkeys(sources)}
        write_json(directory / SOURCES, {"sha256": digests, "remarks": found.remarks})
        header = HEADER.format(path=relative_to_root(found.params_file))
        settings = yaml.safe_dump(_params(found), sort_keys=False, allow_unicode=True)
        write_text(directory / found.params_file.name, header + settings)
    return found


def _listed(given: Sequence[Path], targets: Path | None) -> list[Path]:
    """Return the files given, and the readable ones of folders given, sorted by name.

    The table of targets may lie in the folder of the recordings, and is none of them.
    """
    files: list[Path] = []
    for path in given:
        if path.is_dir() and not is_store(path):
            readable = sorted(
                each
                for each in path.iterdir()
                if ending(each) in (*RECORDINGS, *TIFF)
                and each != targets
                and not each.name.startswith(HIDDEN)
            )
            recordings = [each for each in readable if ending(each) in RECORDINGS]
            inside = recordings or readable  # a photograph beside recordings is none
            if not inside:
                known = ", ".join((*RECORDINGS, *TIFF))
                raise DataError(f"a folder must hold one of {known}, got {path}")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"files to import must exist, got {path}")
    return files


def _recordings(request: Request, files: Sequence[Path]) -> Loaders:
    """Return the recordings of the files; none if a single file holds samples."""
    file, *others = files
    if not others and request.targets and ending(file) in TABLES and not holds_samples(file):
        in_long_form = recordings_by_id(file, request.id_column)
        if in_long_form:
            return in_long_form
    if not others and request.window is None and request.files[0] == file:
        return {}
    names = Counter(each.name for each in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(
            f"recordings must have different names, got {first_of(twice)} in several folders:"
            " rename them, as the table of targets names them"
        )
    if all(ending(each) in TIFF for each in files):
        if request.window is not None:
            raise DataError("images are no recordings to be cut: leave out --window")
        return {}
    return {each.name: partial(read_recording, each, request.key) for each in files}


def _import_samples(
    request: Request, files: Sequence[Path], found: Imported, directory: Path
) -> None:
    """Write the samples of one table, array or folder of images, and those to test of another."""
    samples, references = samples_of(request, files, found.remarks)
    if (of_test := request.of_test) is not None:
        joined = samples_of(of_test, of_test.files, found.remarks, "--test-targets")
        samples, references = followed_by(samples, references, *joined)
    values, t = (
        request.without_codes(samples.values),
        request.without_codes(references.values),
    )
    inputs_whole = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    whole = inputs_whole & request.enough_measured(t)
    if n_gaps := int((~inputs_whole).sum()):
        found.remarks.append(f"{n_gaps} samples with gaps in their inputs are left out")
    found.remarks += request.left_out(t[inputs_whole], "samples")
    _check_left(int(whole.sum()))
    kept = _as_float32(values[whole], "inputs")
    write_npy(directory / "x_train.npy", kept[:, None] if kept.ndim == 2 else kept)
    _write_targets(directory, t[whole], references.at(np.flatnonzero(whole)), found)
    if samples.ids is not None:  # several spectra of one specimen stay together
        _write_groups(directory, np.unique(samples.ids, return_inverse=True)[1][whole], found)
    found.sample_shape = kept.shape[1:] if kept.ndim > 2 else (1, kept.shape[1])
    found.channels, found.axis = samples.channels, samples.axis


def _write_groups(directory: Path, numbers: NDArray[np.int64], found: Imported) -> None:
    """Write the group of each sample, if several samples come from one specimen or recording."""
    n_groups = len(np.unique(numbers))
    if n_groups < len(numbers):
        write_npy(directory / "groups.npy", numbers)
        found.n_groups = n_groups


def _write_targets(
    directory: Path,
    t: NDArray[np.float64],
    references: References,
    found: Imported,
) -> None:
    """Write the targets of the samples and, if it is told, part and weight of each."""
    write_npy(directory / "t_train.npy", _as_float32(t, "targets"))
    found.n_samples = len(t)
    found.partly_measured = bool(np.isnan(t).any())
    found.target_names, found.target_units = references.names, references.units
    if references.split is not None:
        words = part_words(np.array(references.split), len(t))
        write_npy(directory / "split.npy", words)
        found.n_of_part = dict(Counter(words.tolist()))
        found.n_folds = n_folds_of(words)
    if references.weights is not None:
        write_npy(directory / "weights.npy", references.weights)
        found.has_weights = True


def _import_recordings(
    request: Request, loaders: Loaders, found: Imported, directory: Path
) -> None:
    """Write the windows of recordings one after the other, so that memory holds one at a time."""
    references = references_of(request)
    if request.pad and request.window is not None:
        raise DataError("recordings must be cut or continued, got both --window and --pad")
    if references is None:
        raise DataError("recordings must have a table of targets: give it by --targets")
    names = list(loaders)
    rows = references.rows_of(names, numbered=any(ending(f) in OPUS for f in found.sources))
    ids = references.ids or []
    if idle := set(ids) - {ids[row] for row in rows}:
        found.remarks.append(
            f"{len(idle)} rows of {references.path.name} name no recording: {first_of(idle)}"
        )
    first = loaders[names[0]]()
    length = request.window or at_rate(first, request.rate).shape[1]
    if request.pad:  # each recording is read once more, since the longest is known only then
        length = max(at_rate(load(), request.rate).shape[1] for load in loaders.values())
    found.sample_shape = (len(first.channels), length)
    t = request.without_codes(references.values)[rows]
    measured = request.enough_measured(t)
    groups: list[int] = []
    with (directory / "x_train.npy").open("wb") as stream:
        _write_header(stream, 0, found.sample_shape)
        for number in map(int, np.flatnonzero(measured)):
            recording = first if number == 0 else loaders[names[number]]()
            windows = _windows_of(request, recording, first, length, found)
            stream.write(_as_float32(windows, f"values of {names[number]}").tobytes())
            groups += [number] * len(windows)
        if found.n_short == measured.sum() > 0:
            raise DataError(f"recordings must be as long as --window, {length}, got shorter ones")
        _check_left(len(groups))
        stream.seek(0)
        _write_header(stream, len(groups), found.sample_shape)
    _write_targets(directory, t[groups], references.at(rows[groups]), found)
    # files of one row are of one specimen, which counts by the first of them
    _, firsts, specimens = np.unique(rows, return_index=True, return_inverse=True)
    _write_groups(directory, firsts[specimens][groups], found)
    found.remarks += request.left_out(t, "recordings")
    rate = request.rate or first.rate
    found.axis = None if request.window or request.pad else first.axis
    if rate is not None:
        found.axis = Axis("time [s]", 0.0, float(f"{(length - 1) / rate:.9g}"))
    found.channels = with_units(first.channels, first.units)


def _windows_of(
    request: Request, recording: Recording, first: Recording, length: int, found: Imported
) -> NDArray[np.float64]:
    """Return the windows (n_windows, n_channels, length) of a recording like the first one."""
    name = recording.path.name
    cut_or_padded = request.window is not None or request.pad  # whose axis is not kept
    same_axis = (
        first.axis is None if recording.axis is None else recording.axis.is_that_of(first.axis)
    )
    for what, own, wanted, same in (
        ("channels", recording.channels, first.channels, recording.channels == first.channels),
        ("units", recording.units, first.units, recording.units == first.units),
        ("rate", recording.rate, first.rate, request.rate or same_rate(recording.rate, first.rate)),
        ("axis", recording.axis, first.axis, cut_or_padded or same_axis),
    ):
        if not same:
            advice = ": resample them by --rate" if what == "rate" else ""
            raise DataError(
                f"recordings must have the same {what}, got {wanted} in {first.path.name} and {own}"
                f" in {name}{advice}"
            )
    known = replace(recording, values=request.without_codes(recording.values))
    values = at_rate(known, request.rate)
    n_missing = length - values.shape[1]
    if request.pad and n_missing > 0:
        values = np.pad(values, ((0, 0), (0, n_missing)), mode="edge")
        found.remarks.append(f"{name}: the last value is repeated {n_missing} times")
    elif request.window is None and n_missing:
        raise DataError(
            f"recordings must be equally long, got {length} values in {first.path.name} and"
            f" {values.shape[1]} in {name}: cut them into windows by --window, or continue the"
            " shorter ones by --pad"
        )
    windows, n_gaps = cut(values, length, request.step or length)
    if n_gaps:
        found.remarks.append(f"{name}: {n_gaps} windows with gaps are left out")
    elif not len(windows):
        found.n_short += 1
        found.remarks.append(f"{name} is shorter than {length} values and left out")
    return windows


def _as_float32(values: NDArray[np.float64], what: str) -> NDArray[np.float32]:
    """Return values as float32, in the order of the axes."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    if largest > float(np.finfo(np.float32).max):
        raise DataError(
            f"{what} must lie within float32, got {largest:g}: name it by --missing if it is a code"
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _check_left(n_samples: int) -> None:
    if not n_samples:
        raise DataError("some samples must be whole, got gaps or missing targets in all of them")


def _write_header(stream: IO[bytes], n_samples: int, shape: tuple[int, ...]) -> None:
    """Write the header of an array; NumPy leaves room for a larger number of samples."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_samples, *shape)}
    npy_format.write_array_header_1_0(stream, header)


def _params(found: Imported) -> dict[str, Any]:
    """Return the settings of the params file: those of ``params/signals.yaml``, with names."""
    folder = relative_to_root(found.directory)
    dataset: dict[str, Any] = {
        "name": found.directory.name,
        "x_train": f"{folder}/x_train.npy",
        "t_train": f"{folder}/t_train.npy",
        "exclude_channels": [],
        "channel_names": found.channels,
    }
    if found.n_groups is not None:
        dataset["groups"] = f"{folder}/groups.npy"
    if found.partly_measured:
        dataset["partly_measured"] = True
    if found.n_of_part:
        dataset["split"] = f"{folder}/split.npy"
    if found.has_weights:
        dataset["weights"] = f"{folder}/weights.npy"
    if found.axis is not None:
        dataset["axis_names"] = [found.axis.name]
        dataset["axis_ranges"] = [[found.axis.first, found.axis.last]]
    dataset |= {"target_names": found.target_names, "target_units": found.target_units}
    folds = {"data_split": {"n_folds": found.n_folds}} if found.n_folds else {}
    return {
        "dataset": dataset,
        **folds,
        "model": {"hidden": 32},
        "training": {"epochs": 60},
        "evaluation": {"race_folds": 5},
        "study": {
            "name": found.directory.name, "batch_scale": None, "width_scale": None,
            "search_space": "params/search_space_signals.yaml",
            "first_trials": "params/first_trials_signals.yaml",
        },
    }  # fmt: skip
