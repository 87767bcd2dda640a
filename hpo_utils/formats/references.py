"""Reference values: the targets of samples or recordings, by row or by an id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.arrays import choose_array, read_arrays
from hpo_utils.formats.columns import first_ids, first_split, is_count, is_damaged, parts_in
from hpo_utils.formats.endings import GZIP, RECORDINGS, TABLES, TIFF, ending
from hpo_utils.formats.tables import Column, numbers_in, read_table

MAX_NAMED = 5  # ids named in a message


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

    def rows_of(self, names: Sequence[str], *, numbered: bool = False) -> NDArray[np.int64]:
        """Return the row of each of these ids, which may lack the ending of a file's name.

        ``numbered`` says that they are of files that OPUS numbered, such as a.0, which a table may
        name without the number.

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
        # macOS writes an umlaut as two characters, a table as one
        own = [normalize("NFC", each) for each in self.ids]
        wanted = {name: normalize("NFC", name) for name in names}
        if not set(wanted.values()) <= set(own):  # names of files, with folders or other endings
            own = [_stem(each) for each in own]
            wanted = {name: _stem(each) for name, each in wanted.items()}
        known = {each: row for row, each in enumerate(own)}
        if numbered:
            wanted = {n: s if s in known else _without_number(s) for n, s in wanted.items()}
        if len(known) < len(own):
            twice = {each for each in own if own.count(each) > 1}
            _refuse("must name each once, but has twice", twice, self)
        if missing := {name for name in names if wanted[name] not in known}:
            _refuse("must have a row for each, but lacks", missing, self)
        return np.array([known[wanted[name]] for name in names], dtype=np.int64)


@dataclass(frozen=True)
class Named:
    """Names of the columns of a table that were told, by what they hold.

    Without ``ids`` a column called sample or the like names the rows, else the first column of text
    whose words are no classes. Without ``targets`` all columns of numbers are targets, but the
    others named here or recognised. ``split`` holds the words train, val and test, or folds;
    without it, a column of such words tells the parts. ``weights`` tells how much each sample
    counts; ``others`` are neither id nor target.
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
        if key and len(names) == 1:
            names = [key.strip("/").replace("/", ".").rpartition(".")[2]]
        labels = arrays.get(f"{key}.label")
        if labels is not None and len(set(labels.tolist())) == len(names):
            names = labels.tolist()
        if unknown := [name for name in named.targets if name not in names]:
            raise DataError(
                f"a target must be one of {', '.join(names)} in {path.name}, got {unknown[0]!r}"
            )
        if named.targets:
            columns = columns[:, [names.index(name) for name in named.targets]]
            names = list(named.targets)
        return References(path, columns, names, ["-"] * len(names), None)
    return references_among(read_table(path), path, named)


def shared_column(one: Path, other: Path) -> str | None:
    """Return the first column that two tables have in common, by which their rows belong together.

    One that names each row of the other once comes before others. None if one of them is no table,
    or they have no column in common. Places, or the numbers of columns without a header, are no
    names.
    """
    if not {ending(one), ending(other)} <= {*TABLES} or one == other:
        return None
    cells = {column.name: column.cells for column in read_table(other)}
    named = [column.name for column in read_table(one) if numbers_in([column.name]) is None]
    shared = [name for name in named if name in cells]
    distinct = (name for name in shared if len(set(cells[name])) == len(cells[name]))
    return next(distinct, shared[0] if shared else None)


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
                f"a column must be one of {', '.join(by_name) or 'none'} in {path.name}, got"
                f" {wanted!r}"
            )
    told = (*named.targets, named.ids, named.split, named.weights, *named.others)
    free = [column for column in columns if column.name not in told]
    split = by_name[named.split] if named.split else first_split(free)
    apart = (named.weights, *named.others)
    ids = by_name[named.ids] if named.ids else first_ids([c for c in free if c is not split])
    taken = [by_name[name] for name in named.targets] or [
        column
        for column in columns
        if (is_damaged(column) if column.numbers is None else np.isfinite(column.numbers).any())
        and column not in (ids, split)
        and column.name not in apart
        and not is_count(column)
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
        None if ids is None else list(ids.cells),
        None if split is None else parts_in(split.cells, split.name) or list(split.cells),
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


def _first_word(column: Column) -> str:
    return next(cell for cell in column.cells if numbers_in([cell]) is None)


def _stem(name: str) -> str:
    """Return the name of a file without its folders and ending; other ids as they are."""
    path = PurePath(name.strip().removesuffix(GZIP).replace("\\", "/"))
    return path.stem if path.suffix.lower() in (*RECORDINGS, *TIFF) else name.strip()


def _without_number(name: str) -> str:
    """Return a name without the number at its end; a number as it is."""
    path = PurePath(name)
    return path.stem if path.suffix[1:].isdigit() and not path.stem.isdigit() else name


def first_of(ids: Iterable[str]) -> str:
    """Return the first few of some ids in a line."""
    ordered = sorted(ids)
    return ", ".join(ordered[:MAX_NAMED]) + (", …" if len(ordered) > MAX_NAMED else "")


def _refuse(what: str, ids: set[str], references: References) -> None:
    column = f" in column {references.id_column}" if references.id_column else ""
    advice = f": is it --id-column {references.id_column}?" if references.id_column else ""
    raise DataError(
        f"the ids of {references.path.name}{column} {what} {first_of(ids)} ({len(ids)} in"
        f" all){advice}"
    )
