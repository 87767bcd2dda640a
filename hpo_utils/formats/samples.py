"""Samples that stand in one file: a table with a row each, an array, or cases of a ``.ts`` file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import UNREAD, choose_array, read_arrays
from hpo_utils.formats.axes import PLAIN, Axis, axis_along
from hpo_utils.formats.columns import is_damaged
from hpo_utils.formats.endings import ARRAYS, CASES, CURVES, TABLES, TIFF, ending
from hpo_utils.formats.references import Named, References, references_among
from hpo_utils.formats.spectra import read_curves
from hpo_utils.formats.tables import PLACES, Column, decoded, read_table, rises_or_falls

PLACE = re.compile(
    r"(?P<name>.*?)[ _]?(?P<place>[-+]?\d+([.,]\d+)?([eE][-+]\d+)?)\s*(?P<unit>[a-zA-Zµ/%-]*\d?)"
)
COLOURS = (3, 4)  # values of a pixel: red, green, blue, and what shines through
LEAST = 8  # columns of one name with rising or falling numbers that make an axis


@dataclass(frozen=True)
class Samples:
    """Inputs (n_samples, ...) of one file, in its order.

    ``references`` are the other columns of the same table, None if there are none; ``remarks`` say
    what was changed.
    """

    values: NDArray[Any]
    ids: list[str] | None
    channels: list[str]
    axis: Axis | None
    references: References | None
    remarks: list[str] = field(default_factory=list)


def read_samples(
    path: Path,
    named: Named,
    key: str | None = None,
    n_samples: int | None = None,
    option: str = "--key",
    inputs_only: bool = False,
    length: int | None = None,
) -> Samples:
    """Read the samples of one table, file of arrays or file of cases.

    Parameters
    ----------
    path
        The file.
    named
        The columns of a table that were told.
    key
        Name of the array in a file that holds several; ``option`` is how it is given.
    n_samples
        Length of the axis of an array that counts the samples; None if it is the first.
    inputs_only
        Whether targets in the same table do not matter.
    length
        Number of values of a sample of one axis, if it is known.

    Raises
    ------
    DataError
        If the file cannot be read, or holds a recording instead of samples.
    """
    if ending(path) in TABLES:
        return samples_of_table(path, named, inputs_only)
    if ending(path) in CASES:
        return samples_of_cases(path)
    if ending(path) in CURVES:
        return _samples_of_curves(path)
    if ending(path) in ARRAYS:
        return _samples_of_arrays(path, named, key, n_samples, option, length)
    raise DataError(
        f"samples in one file must be a table or an array, got {path.name}: several recordings, or"
        " one cut by --window, are turned into samples by python -m hpo_utils import"
    )


def samples_of_table(path: Path, named: Named, inputs_only: bool = False) -> Samples:
    """Read a table with a sample in each row and a wavelength or time in each of many columns.

    These columns are named by numbers alone (``850``, ``850.5 nm``) or by one word and a number
    (``absorbance_1``). An axis that falls is turned round.

    Raises
    ------
    DataError
        If the file cannot be read, has no such columns, or holds text where numbers belong.
    """
    columns = read_table(path)
    axes = _axes(columns)
    name, places, unit = _longest(axes)
    if len(places) < LEAST:
        raise DataError(
            "a table of samples must have a column for each wavelength or time, named by it, got"
            f" {path.name} with {', '.join(c.name for c in columns[:LEAST])}"
        )
    several = [f"{word}…" for (word, _), each in axes.items() if len(each) >= LEAST]
    if len(several) > 1 and not (named.targets or inputs_only):
        raise DataError(
            f"a table of samples must have one axis, got {', '.join(several)} in {path.name}: name"
            " the targets among these columns by --target-columns, or divide the table"
        )
    order = sorted(places, key=lambda column: places[column])
    inside = set(order)
    by_name = {column.name: column for column in columns}
    values = []
    for each in order:
        numbers = by_name[each].numbers
        if numbers is None:
            raise DataError(f"inputs must be numbers, got text in column {each} of {path.name}")
        values.append(numbers)
    others = [
        column
        for column in columns
        if column.name not in inside and not (inputs_only and is_damaged(column))
    ]
    asked = others or named.ids is not None
    found = references_among(others, path, named, needed=False) if asked else None
    ids = None if found is None else found.ids
    remarks = []
    if found is not None and ids is not None and len(set(ids)) < len(ids):
        remarks.append(f"samples with the same {found.id_column} are a group")
    falls = next(iter(places)) != order[0]
    axis = axis_along(np.array([places[each] for each in order]), unit)
    steps = np.diff([places[each] for each in order])
    if falls:
        remarks.append(f"the axis falls from {axis.last:g} to {axis.first:g}: turned round")
    if len(steps) and steps.max() > 1.5 * steps.min():
        remarks.append(f"the steps of the axis are uneven, from {steps.min():g} to {steps.max():g}")
    return Samples(np.stack(values, axis=1), ids, [name or "signal"], axis, found, remarks)


def _samples_of_curves(path: Path) -> Samples:
    """Read the curves of a file of spectra, a sample each."""
    x, y, x_unit, y_unit = read_curves(path)
    return Samples(y, None, [y_unit or "signal"], axis_along(x, x_unit), None)


def holds_samples(path: Path) -> bool:
    """Return whether a table has a sample in each row, and is not one recording over time.

    Numbered columns, such as s1, beside a column of times are channels.
    """
    columns = read_table(path)
    word, places, _ = _longest(_axes(columns))
    timed = any(PLAIN.fullmatch(column.name) for column in columns)
    return len(places) >= LEAST and not (word and timed)


def _samples_of_arrays(
    path: Path,
    named: Named,
    key: str | None,
    n_samples: int | None,
    option: str,
    length: int | None,
) -> Samples:
    """Read an array of samples; its axis of length ``n_samples`` is moved to the front.

    Vectors beside it with a value for each sample are taken as the columns of a table are.
    """
    arrays, remarks = read_arrays(path, with_text=True), []
    if key is None:  # spectra beside vectors, such as contents and wavelengths
        of_samples = [name for name, array in arrays.items() if array.ndim > 1]
        key = of_samples[0] if len(of_samples) == 1 else None
    values = choose_array(arrays, key, option, path)
    if ending(path) in TIFF and values.ndim == 3:  # pages of grey values
        values = values[:, None]
    elif ending(path) in TIFF and values.ndim == 4 and values.shape[-1] in COLOURS:
        values = np.moveaxis(values, -1, 1)
    if values.ndim < 2:
        raise DataError(
            f"inputs must have two axes at least, got {values.shape} in {path.name}{UNREAD}"
        )
    front = 0
    if n_samples is not None and values.shape[0] != n_samples:
        axes = [axis for axis, length in enumerate(values.shape) if length == n_samples]
        if len(axes) != 1:
            raise DataError(
                f"inputs and targets must have as many samples, got {values.shape} in {path.name}"
                f" and {n_samples} targets: targets have a row for each sample"
            )
        front = axes[0]
    elif length is not None and values.ndim == 2 and length in values.shape:
        front = int(values.shape[1] != length)
    elif n_samples is None and values.ndim == 2:
        columns = {*named.targets, named.ids, named.split, named.weights}
        others = {n: each for n, each in arrays.items() if n.rpartition(".")[2] not in columns}
        front = _axis_of_samples(others, values.shape, path, option)
    if front:
        remarks.append(f"axis {front} of {values.shape} counts the samples: moved to the front")
        values = np.moveaxis(values, front, 0)
    n_channels = 1 if values.ndim == 2 else values.shape[1]
    channels = [f"channel {k}" for k in range(n_channels)]
    axis, its_name = _axis_beside(arrays, values.shape, key)
    beside = [
        Column(name.rpartition(".")[2], "", list(map(_as_cell, vector)), _as_numbers(vector))
        for name, vector in arrays.items()
        if name not in (key, its_name) and vector.shape == values.shape[:1]
    ]
    found = _references_beside(beside, path, named, option, alone=n_samples is None)
    ids = None if found is None else found.ids
    return Samples(values, ids, channels, axis, found, remarks)


def _references_beside(
    beside: Sequence[Column], path: Path, named: Named, option: str, alone: bool
) -> References | None:
    """Return what vectors beside an array tell of its samples; ``alone``: no table has targets."""
    known = [column.name for column in beside]
    columns = [*named.targets, named.split, named.weights, *([named.ids] if alone else [])]
    asked = [name for name in columns if name and name not in known]
    if asked and option == "--key":
        raise DataError(
            f"a vector beside the samples must be one of {', '.join(known) or 'none'} in"
            f" {path.name}, got {asked[0]!r}"
        )
    told = replace(
        named,
        ids=named.ids if named.ids in known else None,
        targets=[name for name in named.targets if name in known],
        split=named.split if named.split in known else None,
        weights=named.weights if named.weights in known else None,
    )
    return references_among(beside, path, told, needed=False) if beside else None


def samples_of_images(files: Sequence[Path]) -> Samples:
    """Read a sample from each of several images, named by the files.

    Raises
    ------
    DataError
        If a file cannot be read, or the images have different shapes.
    """
    images = [choose_array(read_arrays(file), None, "--key", file) for file in files]
    for file, image in zip(files, images, strict=True):
        coloured = image.ndim == 3 and image.shape[-1] in COLOURS
        if image.shape != images[0].shape or not (image.ndim == 2 or coloured):
            raise DataError(
                "images must be (H, W) or (H, W, colours) and of one shape, got"
                f" {images[0].shape} in {files[0].name} and {image.shape} in {file.name}"
            )
    values = np.stack(images)
    values = values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1)
    channels = [f"channel {k}" for k in range(values.shape[1])]
    return Samples(values, [file.name for file in files], channels, None, None)


def _as_cell(value: Any) -> str:
    is_whole = isinstance(value, np.number) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def _as_numbers(vector: NDArray[Any]) -> NDArray[np.float64] | None:
    return None if vector.dtype.kind == "U" else vector.astype(np.float64)


def _is_axis(vector: NDArray[Any]) -> bool:
    """Return whether a vector rises or falls, as the places of a spectrum do."""
    is_vector = vector.ndim == 1 and len(vector) >= LEAST and vector.dtype.kind != "U"
    return is_vector and rises_or_falls(vector)


def _axis_of_samples(
    arrays: Mapping[str, NDArray[Any]], shape: Sequence[int], path: Path, option: str
) -> int:
    """Return which axis of an array (n_rows, n_columns) counts the samples, by the vectors beside.

    Those of a spectrum are called wavelength or the like, and rise or fall; others tell something
    of each sample.
    """
    if shape[0] == shape[1]:
        return 0
    places: list[list[str]] = [[], []]
    others: list[list[str]] = [[], []]
    for name, vector in arrays.items():
        if vector.ndim != 1 or len(vector) not in shape:
            continue
        axis, bare = list(shape).index(len(vector)), name.rpartition(".")[2]
        # t may be a vector of targets, unless it is as long as a sample
        is_place = PLACES.match(bare) or (axis == 1 and PLAIN.fullmatch(bare))
        (places if is_place and _is_axis(vector) else others)[axis].append(name)
    if not places[0] or places[1]:
        in_columns = others[1] and not (others[0] or places[0] or places[1])
        # values that rise, too, may be those of an axis without a name
        return int(any(not _is_axis(arrays[name]) for name in others[1]) if in_columns else 0)
    if others[0] and option == "--key":
        raise DataError(
            f"it must be clear which axis of {tuple(shape)} in {path.name} counts the samples, got"
            f" {', '.join(places[0] + others[0])} along the first: name the targets by --target-key"
        )
    return int(not others[0])


def _axis_beside(
    arrays: Mapping[str, NDArray[Any]], shape: Sequence[int], key: str | None
) -> tuple[Axis | None, str]:
    """Return the axis along which signals of this shape were taken, and the name of its vector.

    It is the vector of that length that rises or falls. None if there is none, or several differ;
    the array's own comes first. Where there are as many samples, it must be called so.
    """
    own = f"{key}.axisscale"
    found: dict[tuple[float, float], str] = {}
    for name, vector in arrays.items():
        called = name == own or PLACES.match(name.rpartition(".")[2]) is not None
        if len(shape) > 3 or vector.shape != (shape[-1],) or not _is_axis(vector):
            continue
        if called or shape[-1] != shape[0]:
            found[float(vector[0]), float(vector[-1])] = name
    if own in found.values():
        found = {ends: name for ends, name in found.items() if name == own}
    if len(found) != 1:
        return None, ""
    ends, name = found.popitem()
    word = name.rpartition(".")[2]
    return Axis("axis" if word == "axisscale" else word, *ends), name


def samples_of_cases(path: Path) -> Samples:
    """Read a ``.ts`` file of aeon and sktime: a line for each case, with its target at the end.

    Channels are separated by colons, values by commas; ``?`` is a missing value.

    Raises
    ------
    DataError
        If the file cannot be read, or its series are unequally long or have times of their own.
    """
    try:
        lines = [line.strip() for line in decoded(path.read_bytes()).splitlines()]
    except OSError as error:
        raise DataError(f"a .ts file must be readable text, got {path.name}: {error}") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    start = next((i for i, line in enumerate(lines) if line.lower() == "@data"), len(lines))
    told = dict(line.lower().split(maxsplit=1) for line in lines[:start] if line.split()[1:])
    if told.get("@timestamps", "false") != "false":
        raise DataError(f"the series of a .ts file must be even, got @timeStamps in {path.name}")
    if told.get("@classlabel", "false").startswith("true"):
        raise DataError(f"targets must be numbers, got the classes of @classLabel in {path.name}")
    cases = [line.split(":") for line in lines[start + 1 :]]
    has_target = told.get("@targetlabel", "false").startswith("true")
    try:
        found = [[_numbers(channel) for channel in case] for case in cases]
    except ValueError as error:
        raise DataError(f"a .ts file must hold numbers, got {path.name}: {error}") from None
    targets = [case.pop() for case in found] if has_target else []
    shapes = {tuple(len(channel) for channel in case) for case in found}
    if len(shapes) != 1 or len(set(next(iter(shapes)))) != 1:
        raise DataError(
            "the series of a .ts file must be equally long, got"
            f" {sorted(shapes)[:3] or 'none'} values in {path.name}: cut or pad them first"
        )
    references = None
    if has_target:
        references = References(path, np.array(targets), ["target"], ["-"], None)
    values = np.array(found)
    channels = [f"channel {k}" for k in range(values.shape[1])]
    return Samples(values, None, channels, None, references)


def _numbers(text: str) -> list[float]:
    return [np.nan if each.strip() == "?" else float(each) for each in text.split(",")]


def _axes(columns: Sequence[Column]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the place of each column of each axis, by the axis's common word and unit."""
    axes: dict[tuple[str, str], dict[str, float]] = {}
    for column in columns:
        match = PLACE.fullmatch(column.name)
        if match is not None:
            word, unit = match["name"].strip(), match["unit"] or column.unit
            place = float(match["place"].replace(",", "."))
            axes.setdefault((word, unit), {})[column.name] = place
    return axes


def _longest(axes: Mapping[tuple[str, str], dict[str, float]]) -> tuple[str, dict[str, float], str]:
    """Return the common word, the place of each column, and the unit of the longest axis."""
    if not axes:
        return "", {}, ""
    (word, unit), places = max(axes.items(), key=lambda item: len(item[1]))
    return word, places, unit
