"""Reference values: the targets of samples or recordings, by row or by an id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.endings import TABLES, ending
from hpo_utils.formats.tables import Column, numbers_in, read_table

MAX_NAMED = 5  # ids named in a message


@dataclass(frozen=True)
class References:
    """Targets (n_rows, n_targets), NaN where nothing was measured, and the id of each row.

    ``ids`` is None where the order of the rows counts, ``split`` where no column tells the part
    or fold of each row.
    """

    path: Path
    values: NDArray[np.float64]
    names: list[str]
    units: list[str]
    ids: list[str] | None
    split: list[str] | None = None
    weights: NDArray[np.float64] | None = None

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

    Without ``ids`` the first column of text names the rows, if there is one. Without ``targets``
    all columns of numbers are targets, but the others named here. ``split`` holds the words train,
    val and test, or folds; ``weights`` how much each sample counts; ``others`` what is neither id
    nor target.
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
        values = choose_array(read_arrays(path), key, option, path).astype(np.float64)
        columns = np.atleast_2d(values).T if values.ndim == 1 else values
        if columns.ndim != 2:
            raise DataError(
                f"targets must be (n_samples, n_targets), got {values.shape} in {path.name}"
            )
        names = [f"target {k}" for k in range(columns.shape[1])]
        return References(path, columns, names, ["-"] * len(names), None)
    return references_among(read_table(path), path, named)


def shared_column(one: Path, other: Path) -> str | None:
    """Return the first column that two tables have in common, by which their rows belong together.

    None if one of them is no table, or they have no column in common.
    """
    if not {ending(one), ending(other)} <= {*TABLES} or one == other:
        return None
    names = {column.name for column in read_table(other)}
    return next((column.name for column in read_table(one) if column.name in names), None)


def references_among(columns: Sequence[Column], path: Path, named: Named) -> References:
    """Return the targets among the columns of a table; see ``read_references``."""
    by_name = {column.name: column for column in columns}
    for wanted in (*named.targets, named.ids, named.split, named.weights):
        if wanted is not None and wanted not in by_name:
            raise DataError(
                f"a column must be one of {', '.join(by_name)} in {path.name}, got {wanted!r}"
            )
    apart = (named.split, named.weights, *named.others)
    ids = by_name[named.ids] if named.ids else _first_text(columns, (*named.targets, *apart))
    taken = [by_name[name] for name in named.targets] or [
        column
        for column in columns
        if column is not ids and column.name not in apart and column.numbers is not None
    ]
    if text := [column for column in taken if column.numbers is None]:
        raise DataError(
            f"targets must be numbers, got text in {text[0].name} of {path.name}, such as"
            f" {_first_word(text[0])!r}: correct it, or name the targets by --target-columns"
        )
    if not taken:
        raise DataError(f"a table of targets must have a column of numbers, got {path.name}")
    values = np.stack([c.numbers for c in taken if c.numbers is not None], axis=1)
    return References(
        path, values, [c.name for c in taken], [c.unit or "-" for c in taken],
        None if ids is None else ids.cells,
        by_name[named.split].cells if named.split else None,
        _weights(by_name[named.weights], path) if named.weights else None,
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


def _first_text(columns: Sequence[Column], but: Sequence[str | None]) -> Column | None:
    text = (column for column in columns if column.numbers is None and column.name not in but)
    return next(text, None)


def _first_word(column: Column) -> str:
    return next(cell for cell in column.cells if numbers_in([cell]) is None)


def _stem(name: str) -> str:
    """Return an id without the folders and the ending of a file's name."""
    path = PurePath(name.strip().replace("\\", "/"))
    return path.stem if path.suffix and not path.suffix[1:].isdigit() else path.name


def _refuse(what: str, ids: set[str], path: Path) -> None:
    named = ", ".join(sorted(ids)[:MAX_NAMED]) + (", …" if len(ids) > MAX_NAMED else "")
    raise DataError(f"the ids of {path.name} {what} {named} ({len(ids)} in all)")
