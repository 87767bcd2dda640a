"""Reference values: the targets of samples or recordings, by row or by an id.

Columns that are not named are recognised: the part of each row, train, val or test, and its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.endings import TABLES, ending
from hpo_utils.formats.tables import Column, numbers_in, read_table

MAX_NAMED = 5  # ids named in a message
CALIBRATION = ("cal", "calib", "calibrate", "calibration")
PART_WORDS = {
    "train": ("train", "training", "learn", "learning", *CALIBRATION),
    "val": ("val", "valid", "validate", "validation", "dev", "tune", "tuning"),
    "test": ("test", "testing", "pred", "predict", "prediction", "holdout", "external", "valext"),
}  # what people call the parts of a split
PART_OF = {word: part for part, words in PART_WORDS.items() for word in words}
YES, NO = ("true", "yes", "1"), ("false", "no", "0")
ID_WORDS = ("column0", "id", "index", "sample", "sampleid", "sampleno", "specimen", "unnamed:0")
MIN_IDS = 24  # groups that fill three parts; fewer ids name classes, unless there are few rows
MAX_ROWS = 10  # rows of one id among few ids


@dataclass(frozen=True)
class References:
    """Targets (n_rows, n_targets), NaN where nothing was measured, and the id of each row.

    ``ids``, of ``id_column``, is None where the order of the rows counts, ``split`` where no column
    tells the part or fold of each row.
    """

    path: Path
    values: NDArray[np.float64]
    names: list[str]
    units: list[str]
    ids: list[str] | None
    split: list[str] | None = None
    weights: NDArray[np.float64] | None = None
    id_column: str | None = None

    def at(self, rows: NDArray[np.int64]) -> References:
        """Return the references in these rows, without their ids."""
        return replace(
            self,
            values=self.values[rows],
            ids=None,
            split=None if self.split is None else [self.split[row] for row in rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def rows_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each of these ids, which may lack the ending of a file's name.

        Raises
        ------
        DataError
            If the table has no ids, lacks one of them, or has one twice.
        """
        if self.ids is None:
            raise DataError(
                f"{self.path.name} must have a column that names the files, such as {names[0]}:"
                " say which by --id-column"
            )
        known = {_stem(each): row for row, each in enumerate(self.ids)}
        # a file that OPUS numbered, such as a.0, may be named by the table without its number
        stems = {n: s if (s := _stem(n)) in known else PurePath(s).stem for n in names}
        if len(known) < len(self.ids):
            own = [_stem(each) for each in self.ids]
            twice = {stem for stem in own if own.count(stem) > 1}
            _refuse("must name each once, but has twice", twice, self.path)
        if missing := {name for name in names if stems[name] not in known}:
            _refuse("must have a row for each, but lacks", missing, self.path)
        return np.array([known[stems[name]] for name in names], dtype=np.int64)


@dataclass(frozen=True)
class Named:
    """Names of the columns of a table that were told, by what they hold.

    Without ``ids`` the first column of text names the rows, unless its few words are those of
    classes; else whole numbers under a word for ids, such as sample. Without ``targets`` all
    columns of numbers are targets, but the others named here or recognised. ``split`` holds the
    words train, val and test, or folds; without it, a column of such words tells the parts.
    ``weights`` tells how much each sample counts; ``others`` are neither id nor target.
    """

    ids: str | None = None
    targets: Sequence[str] = ()
    split: str | None = None
    weights: str | None = None
    others: Sequence[str] = ()


def read_references(
    path: Path,
    key: str | None = None,
    named: Named = Named(),
    option: str = "--target-key",
) -> References:
    """Read targets from a table, or from a file of arrays, whose order of rows then counts.

    Parameters
    ----------
    path
        The file.
    key
        Name of the array in a file that holds several; ``option`` is how it is given.
    named
        The columns of a table that were told.

    Raises
    ------
    DataError
        If the file cannot be read, a target is no number, or a weight no positive number.
    """
    if ending(path) not in TABLES:
        arrays = read_arrays(path, with_text=True)
        values = choose_array(arrays, key, option, path).astype(np.float64)
        columns = np.atleast_2d(values).T if values.ndim == 1 else values
        if columns.ndim != 2:
            raise DataError(
                f"targets must be (n_samples, n_targets), got {values.shape} in {path.name}"
            )
        names = [f"target {k}" for k in range(columns.shape[1])]
        labels = arrays.get(f"{key}.label")
        if labels is not None and len(set(labels.tolist())) == len(names):
            names = labels.tolist()
        return References(path, columns, names, ["-"] * len(names), None)
    return references_among(read_table(path), path, named)


def shared_column(one: Path, other: Path) -> str | None:
    """Return the first column that two tables have in common, by which their rows belong together.

    None if one of them is no table, or they have no column in common. Places, or the numbers of
    columns without a header, are no names.
    """
    if not {ending(one), ending(other)} <= {*TABLES} or one == other:
        return None
    names = {column.name for column in read_table(other)}
    named = [column.name for column in read_table(one) if numbers_in([column.name]) is None]
    return next((name for name in named if name in names), None)


def references_among(
    columns: Sequence[Column], path: Path, named: Named, *, needed: bool = True
) -> References:
    """Return the targets among the columns of a table; see ``read_references``.

    If they are not ``needed``, there may be none.
    """
    by_name = {column.name: column for column in columns}
    for wanted in (*named.targets, named.ids, named.split, named.weights):
        if wanted is not None and wanted not in by_name:
            raise DataError(
                f"a column must be one of {', '.join(by_name)} in {path.name}, got {wanted!r}"
            )
    told = (*named.targets, named.ids, named.split, named.weights, *named.others)
    free = [column for column in columns if column.name not in told]
    split = by_name[named.split] if named.split else _first_split(free)
    apart = (named.weights, *named.others)
    ids = by_name[named.ids] if named.ids else _first_ids([c for c in free if c is not split])
    taken = [by_name[name] for name in named.targets] or [
        column
        for column in columns
        if column.numbers is not None
        and column not in (ids, split)
        and column.name not in apart
        and not _is_count(column)
    ]
    if text := [column for column in taken if column.numbers is None]:
        raise DataError(
            f"targets must be numbers, got text in {text[0].name} of {path.name}, such as"
            f" {_first_word(text[0])!r}: correct it, or name the targets by --target-columns"
        )
    if not taken and needed:
        raise DataError(f"a table of targets must have a column of numbers, got {path.name}")
    values = np.array([c.numbers for c in taken]).T.reshape(len(columns[0].cells), len(taken))
    return References(
        path, values, [c.name for c in taken], [c.unit or "-" for c in taken],
        None if ids is None else ids.cells,
        None if split is None else parts_in(split.cells, split.name) or split.cells,
        _weights(by_name[named.weights], path) if named.weights else None,
        None if ids is None else ids.name,
    )  # fmt: skip


def _weights(column: Column, path: Path) -> NDArray[np.float64]:
    """Return the numbers of a column of weights."""
    numbers = column.numbers
    if numbers is not None and (good := np.isfinite(numbers) & (numbers > 0)).all():
        return numbers
    wrong = _first_word(column) if numbers is None else column.cells[int(good.argmin())]
    raise DataError(
        f"weights must be positive numbers, got {wrong!r} in {column.name} of {path.name}"
    )


def parts_in(cells: Sequence[str], name: str = "") -> list[str] | None:
    """Return ``train``, ``val`` or ``test`` for each cell of a column; None if one is another word.

    A column whose ``name`` is that of a part may hold yes and no, as words or numbers. A
    calibration and a validation set without a third one are training and test part.
    """
    words = [_bare(cell).removesuffix("set").removesuffix(".0") for cell in cells]
    own, found = PART_OF.get(_bare(name).removeprefix("is")), set(words)
    if own in ("train", "test") and found <= {*YES, *NO}:
        other = "test" if own == "train" else "train"
        return [own if word in YES else other for word in words]
    if not found <= PART_OF.keys():
        return None
    parts = [PART_OF[word] for word in words]
    if set(parts) == {"train", "val"} and found & {*CALIBRATION}:
        return ["test" if part == "val" else part for part in parts]
    return parts


def _bare(word: str) -> str:
    """Return a word in small letters, without spaces, hyphens and underscores."""
    return word.lower().translate({ord(mark): None for mark in " -_"})


def _first_split(columns: Sequence[Column]) -> Column | None:
    """Return the first column that tells which rows train and which test."""
    for column in columns:
        if {"train", "test"} <= set(parts_in(column.cells, column.name) or ()):
            return column
    return None


def _first_ids(columns: Sequence[Column]) -> Column | None:
    """Return the first column of text that names the rows, else one of numbers called so."""
    text = [column for column in columns if column.numbers is None and _are_ids(column)]
    return next(iter([*text, *filter(_is_count, columns)]), None)


def _is_count(column: Column) -> bool:
    """Return whether a column counts the rows or samples, by its name and whole numbers."""
    numbers = column.numbers
    return (
        numbers is not None
        and _bare(column.name) in ID_WORDS
        and np.array_equal(numbers, np.round(numbers))
    )


def _are_ids(column: Column) -> bool:
    """Return whether the words of a column are too many for classes."""
    n_words, n_rows = len(set(column.cells)), len(column.cells)
    return n_words >= MIN_IDS or n_words * MAX_ROWS >= n_rows > 1 < n_words or n_rows == 1


def _first_word(column: Column) -> str:
    return next(cell for cell in column.cells if numbers_in([cell]) is None)


def _stem(name: str) -> str:
    """Return an id without the folders and the ending of a file's name."""
    path = PurePath(name.strip().replace("\\", "/"))
    return path.stem if path.suffix and not path.suffix[1:].isdigit() else path.name


def _refuse(what: str, ids: set[str], path: Path) -> None:
    named = ", ".join(sorted(ids)[:MAX_NAMED]) + (", …" if len(ids) > MAX_NAMED else "")
    raise DataError(f"the ids of {path.name} {what} {named} ({len(ids)} in all)")
