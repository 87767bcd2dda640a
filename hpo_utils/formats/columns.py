"""What the columns of a table hold, where nobody told: the part of each row, ids, targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpo_utils.base.errors import DataError
from hpo_utils.formats.tables import Column, numbers_in

# what people call the parts of a split
PART_WORDS = {
    "train": (
        "train", "training", "learn", "learning", "cal", "calib", "calibrate", "calibration",
        "kalibrierung", "kalibration",
    ),
    "val": ("val", "valid", "validate", "validation", "validierung", "dev", "tune", "tuning"),
    "test": ("test", "testing", "pred", "predict", "prediction", "holdout", "external", "valext"),
}  # fmt: skip
PART_OF = {word: part for part, words in PART_WORDS.items() for word in words}
YES, NO = ("true", "yes", "y", "x", "1", "ja", "oui"), ("false", "no", "n", "", "0", "nein", "non")
YES_NO_NAMES = (
    "train", "training", "cal", "calibration", "val", "validation", "test", "testing", "holdout",
)  # fmt: skip
FOLD_WORDS = ("fold", "folds", "cvfold")
MARKS = ("<", ">", "~", "n.d", "nd", "err", "#")  # begin what stands for a value
NEARLY = 0.5  # of the rows: so many words for parts, or numbers, are no chance
ID_WORDS = (
    "id", "sample", "sampleid", "sampleno", "samplename", "samplenumber", "specimen", "name",
    "group", "groups", "file", "filename", "recording", "spectrum", "rownames",
)  # fmt: skip
COUNTERS = ("column0", "index", "unnamed:0", "no", "nr", "#")  # if they count the rows
MIN_IDS = 24  # groups that fill three parts; fewer ids name classes, unless there are few rows
MAX_ROWS = 10  # rows of one id among few ids


def parts_in(cells: Sequence[str], name: str = "") -> list[str] | None:
    """Return ``train``, ``val`` or ``test`` for each cell of a column; None if one is another word.

    A column whose ``name`` is that of a part may hold yes and no, as words, marks or numbers. A
    validation part beside a training part alone is the test part, as in chemometrics.
    """
    words, called = [_bare(cell) for cell in cells], _bare(name).removeprefix("is")
    if called in YES_NO_NAMES and set(words) <= {*YES, *NO}:
        yes, no = ("train", "test") if PART_OF[called] == "train" else ("test", "train")
        return [yes if word in YES else no for word in words]
    if not set(words) <= PART_OF.keys():
        return None
    parts = [PART_OF[word] for word in words]
    if set(parts) == {"train", "val"}:
        return ["test" if part == "val" else part for part in parts]
    return parts


def first_split(columns: Sequence[Column]) -> Column | None:
    """Return the first column that tells which rows train and which test, or numbers the folds.

    Raises
    ------
    DataError
        If a column tells it of most rows only.
    """
    for column in columns:
        if {"train", "test"} <= set(parts_in(column.cells, column.name) or ()):
            return column
        if _bare(column.name) in FOLD_WORDS and _are_folds(column):
            return column
        if column.numbers is not None:
            continue
        known = [_bare(cell) in PART_OF for cell in column.cells]
        if NEARLY < np.mean(known) < 1 and len(set(column.cells)) > 2:
            wrong = column.cells[known.index(False)]
            raise DataError(
                f"the part of each sample must be train, val or test, got {wrong!r} in"
                f" {column.name}: correct it, or leave the column out"
            )
    return None


def first_ids(columns: Sequence[Column]) -> Column | None:
    """Return the column that names the rows: one that is called so, else the first text."""
    text = [column for column in columns if column.numbers is None]
    called = [
        column
        for column in text
        if (word := _bare(column.name)) in ID_WORDS and (word != "name" or are_ids(column))
    ]
    unnamed = [column for column in text if are_ids(column)]
    return next(iter([*called, *filter(is_count, columns), *unnamed]), None)


def is_count(column: Column) -> bool:
    """Return whether a column of whole numbers names the samples, by its name, or counts them."""
    if column.numbers is None:
        return False
    numbers = column.numbers[np.isfinite(column.numbers)]
    if not len(numbers) or not np.array_equal(numbers, np.round(numbers)):
        return False
    name = _bare(column.name)
    return name in ID_WORDS or (name in COUNTERS and bool((np.diff(numbers) == 1).all()))


def are_ids(column: Column) -> bool:
    """Return whether the words of a column are too many for classes, and were not measured."""
    n_words, n_rows = len(set(column.cells)), len(column.cells)
    enough = n_words >= MIN_IDS or n_words * MAX_ROWS >= n_rows > 1 < n_words or n_rows == 1
    return enough and not is_damaged(column)


def is_damaged(column: Column) -> bool:
    """Return whether most cells of a column of text were measured, and others were not.

    These say so (<0.1, n.d.), or the numbers have decimals and repeat, as codes hardly do.
    """
    if column.numbers is not None:
        return False
    cells = [cell for cell in column.cells if cell]
    numeric = [cell for cell in cells if numbers_in([cell]) is not None]
    if len(numeric) <= NEARLY * len(column.cells):
        return False
    marked = any(cell.lower().startswith(MARKS) for cell in cells)
    decimal = any(mark in cell for cell in numeric for mark in ".,")
    return marked or (decimal and len(set(numeric)) < len(numeric))


def _are_folds(column: Column) -> bool:
    """Return whether a column has three whole numbers or more, and no gaps."""
    numbers = column.numbers
    if numbers is None or not np.array_equal(numbers, np.round(numbers)):
        return False
    return len(set(numbers.tolist())) > 2


def _bare(word: str) -> str:
    """Return a word in small letters, without marks: testset and testdata are test."""
    bare = word.lower().translate({ord(mark): None for mark in " -_.?"})
    return bare.removesuffix("set").removesuffix("data") or bare
