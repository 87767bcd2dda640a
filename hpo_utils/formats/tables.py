"""Tables: CSV, TSV, Excel, ODS, Parquet and R files as columns of numbers and of text.

Tables of text may be packed (``.csv.gz``). Every cell is read as text and then as a number, so that
no library guesses: a comma may separate decimals, a table may begin with lines about the
instrument, and its units may stand in a row. Parquet and R say themselves what is a number.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.endings import GZIP, PARQUET, SHEETS, R, ending
from hpo_utils.formats.frames import TypedCells, as_text, read_frame
from hpo_utils.formats.sources import NUMBERS

# what the places of a spectrum are called
PLACES = re.compile(
    r"wave|wellen|wvl|w[ln]\b|lambda|λ|波長|波数|longitud|longueur|raman|shift|freq|pixel|2.?theta|"
    r"m/z|nm$|cm-?1|1/cm|x([ _-]?(axis|values?))?$",
    re.IGNORECASE,
)
COMMENTS = ("#", ";", "%", "!")  # at the beginning of a line, where blanks separate cells
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "-"})
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE)
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
PLAIN = frozenset("0123456789.+-eE")
INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "-infinity"})
WITHOUT_COMMA = re.compile(r"[-+]?(\d{3,}|\d*\.\d+)")
STATISTICS = frozenset({
    "mean", "meanvalue", "average", "averagevalue", "avg", "sd", "std", "stdev", "stddev",
    "standarddeviation", "rsd", "cv", "median", "min", "minimum", "max", "maximum", "sum", "total",
    "mittelwert", "standardabweichung", "moyenne", "écarttype", "平均", "標準偏差",
})  # fmt: skip
NOT_LETTERS = re.compile(r"\(.*\)|[^\w]|_")
LABELS = 3  # columns in which a row may be named
NAMELESS = "column "  # begins the name of a column without one, before its number
WITH_UNIT = re.compile(r"(?P<name>.*?)\s*(\[(?P<square>[^\]]*)\]|\((?P<round>[^)]*)\))\s*")


@dataclass(frozen=True)
class Column:
    """One column: its name, its unit (empty if none is given), and its cells.

    ``numbers`` (n_rows,) is float64 with NaN where a cell is empty; None if a cell is text.
    """

    name: str
    unit: str
    cells: Sequence[str]
    numbers: NDArray[np.float64] | None


def read_table(path: Path) -> list[Column]:
    """Read the columns of a table, the first sheet of a workbook.

    An import asks for a table several times: the last two are kept as long as they do not change.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or names a column twice.
    """
    try:
        status = path.stat()
    except OSError:
        return _columns_of(path)
    return list(_kept(path, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _kept(path: Path, size: int, mtime_ns: int) -> tuple[Column, ...]:
    """Return the columns of a table of this size, written at this time."""
    columns = _of_frame(path) if ending(path) in (*PARQUET, *R) else _columns_of(path)
    _refuse_statistics(columns, path)
    return tuple(columns)


def _columns_of(path: Path) -> list[Column]:
    rows = _rows_of_sheet(path) if ending(path) in SHEETS else _rows_of_text(path)
    header, units, body = _parts(rows)
    if not body:
        raise DataError(f"a table must hold rows of values, got {path.name} with none")
    width = len(header)
    for number, row in enumerate(body, 1):
        if len(row) != width:
            raise DataError(
                f"each row of a table must have as many cells as its header, {width}, got"
                f" {len(row)} in row {number} of {path.name}"
            )
    header = [name or f"{NAMELESS}{number}" for number, name in enumerate(header)]
    named = [_name_and_unit(name, unit) for name, unit in zip(header, units, strict=True)]
    _refuse_twice([name for name, _ in named], path)
    _refuse_thousands("the header", [name for name, _ in named], path)
    columns = []
    for (name, unit), cells in zip(named, zip(*body, strict=True), strict=True):
        _refuse_thousands(name, cells, path)
        if any(cells) or not name.startswith(NAMELESS):
            columns.append(Column(name, unit, list(cells), numbers_in(cells)))
    return columns


def _of_frame(path: Path) -> list[Column]:
    """Return the columns of a file that says itself what is a number."""
    columns = []
    for name, values in read_frame(path):
        cells = TypedCells(values)
        known = values.dtype.kind in NUMBERS
        numbers = values.astype(np.float64) if known else numbers_in(list(cells))
        columns.append(Column(*_name_and_unit(name, ""), cells, numbers))
    _refuse_twice([column.name for column in columns], path)
    return columns


def _refuse_twice(names: list[str], path: Path) -> None:
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"columns of a table must have different names, got {twice} in {path.name}")


def _refuse_statistics(columns: list[Column], path: Path) -> None:
    """Refuse a table whose last rows are not samples, but what was computed from them.

    Such words above the last rows are levels of a factor.
    """
    for cells in (column.cells for column in columns[:LABELS] if column.numbers is None):
        last = [*takewhile(lambda word: word in {*STATISTICS, "n"}, map(_letters, reversed(cells)))]
        n_above = len(cells) - len(last)
        if n_above and STATISTICS & {*last} and not STATISTICS & {*map(_letters, cells[:n_above])}:
            raise DataError(
                f"each row of a table must be a sample or a time, got {cells[n_above]!r} in row"
                f" {n_above + 1} of {path.name}: remove what was computed from the others, or"
                " give the sample another name"
            )


def _letters(cell: str) -> str:
    """Return a word in small letters, without points, blanks and what stands in brackets."""
    return NOT_LETTERS.sub("", cell.lower())


def _refuse_thousands(name: str, cells: Sequence[str], path: Path) -> None:
    """Refuse a column in which a comma may separate thousands: 998 stands beside 1,003.

    All its commas stand before three digits, and beside them is a decimal point, or a whole number
    of three digits or more.
    """
    if "," not in "".join(cells):
        return
    commas = [cell for cell in cells if "," in cell]
    other = next((cell for cell in cells if WITHOUT_COMMA.fullmatch(cell)), None)
    if other and all(map(THOUSANDS.fullmatch, commas)):
        raise DataError(
            f"a comma must separate decimals, got {commas[0]!r} beside {other!r} in {name} of"
            f" {path.name}: write thousands without it, or all values with the same decimals"
        )


def numbers_in(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN for empty ones; None if one of them is no number.

    A comma separates decimals. Separators of thousands are not guessed at: such a cell is text.
    """
    if PLAIN.issuperset("".join(cells)):  # ten times faster
        with suppress(ValueError):  # some are empty
            return np.array([float(cell) for cell in cells])
    found = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if cell.lower() in MISSING:
            continue
        if NUMBER.fullmatch(cell):
            found[place] = float(cell.replace(",", "."))
        elif cell.lower() in INFINITE:
            found[place] = float(cell)
        else:
            return None
    return found


def _rows_of_sheet(path: Path) -> list[list[str]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
    except (CalamineError, OSError, ValueError, IndexError) as error:
        raise DataError(f"a workbook must be readable, got {path.name}: {error}") from None
    return [[as_text(cell) for cell in row] for row in rows]


def _rows_of_text(path: Path) -> list[list[str]]:
    try:
        content = path.read_bytes()
        if path.suffix.lower() == GZIP:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"a table must be readable, got {path}: {reason}") from None
    text = decoded(content)
    if "\0" in text:
        raise DataError(f"a table must be text, got {path.name} with binary content")
    lines = [line for line in text.splitlines() if line.strip()]
    if not any(not line.startswith("#") for line in lines):
        raise DataError(f"a table must hold rows of values, got {path.name} with none")
    # a comma may separate decimals, so it separates cells only where nothing else does
    counts = {mark: sum(mark in line for line in lines) for mark in ("\t", ";", "|", ",")}
    mark = next((m for m, count in counts.items() if 2 * count > len(lines)), None)
    if mark == "," and _is_one_column(lines):
        return [[line] for line in lines]
    if mark is None:
        kept = [" ".join(line.split()) for line in lines if not line.startswith(COMMENTS)]
        return _without_comments(list(csv.reader(kept, delimiter=" ")))
    return _without_comments(list(csv.reader(lines, delimiter=mark)))


def _without_comments(rows: list[list[str]]) -> list[list[str]]:
    """Leave out rows that begin with #, unless as wide as most, with it in a header or an id."""
    width = _width(rows)
    kept: list[list[str]] = []
    for number, row in enumerate(rows):
        if row[0].startswith("#"):
            has_numbers = any(_is_number(cell.strip()) for cell in row)
            following = next((r for r in rows[number + 1 :] if not r[0].startswith("#")), [])
            is_header = not has_numbers and any(_is_number(cell.strip()) for cell in following)
            below_header = has_numbers and any(len(r) == width for r in kept)
            if not (len(row) == width > 2 and (is_header or below_header)):
                continue
        kept.append(row)
    return kept


def _width(rows: list[list[str]]) -> int:
    """Return the number of cells that most rows have."""
    widths = [len(row) for row in rows]
    return max(set(widths), key=widths.count)


def _is_one_column(lines: list[str]) -> bool:
    """Return whether one name without a comma stands above numbers that have a decimal comma."""
    name, *body = (line.strip() for line in lines)
    if "," in name or numbers_in([name]) is not None or numbers_in(body) is None:
        return False
    steps = np.diff([float(line.partition(",")[0]) for line in body])
    counts = len(steps) > 1 and len(set(steps.tolist())) == 1
    return not counts  # otherwise one column counts, and another was measured


def decoded(content: bytes) -> str:
    """Return text in the encoding that its mark tells, else UTF-8, else that of Windows."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _parts(rows: list[list[str]]) -> tuple[list[str], list[str], list[list[str]]]:
    """Return header, units and body of rows; lines about the instrument around them are left out.

    The header is the first row as wide as most rows that is no title. It is a row of text, or of
    wavelengths or times that rise or fall. A table of numbers alone gets the numbers of its columns
    for a header.
    """
    rows = [[cell.strip() for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    width = _width(rows)
    start = next(i for i, row in enumerate(rows) if len(row) == width)
    while len(rows) > start + 1 and len(rows[-1]) != width and not _is_numbers(rows[-1]):
        del rows[-1]
    if start and len(rows[start - 1]) == width - 1 > 0 and not any(r[-1] for r in rows[start:]):
        # each row of values ends with a separator, the header does not
        rows = [row[: width - 1] for row in rows]
        start, width = start - 1, width - 1
    start = _header_row(rows, start, width)
    header, body = rows[start], rows[start + 1 :]
    if start and _names_all_but_the_first(rows[start - 1], rows[start:]):
        return ["", *rows[start - 1]], [""] * width, rows[start:]
    values = numbers_in(header)
    if values is not None and not _is_axis(values) and not _is_range(header):
        return [str(number) for number in range(width)], [""] * width, rows[start:]
    units = [""] * width
    if len(body) > 1 and len(body[0]) == width and _is_row_of_units(body):
        units, body = [cell.strip(" []()") for cell in body[0]], body[1:]
    return header, units, body


def _header_row(rows: list[list[str]], start: int, width: int) -> int:
    """Return the row of the header, or of the first numbers; ``start`` is the first of the width.

    A title may be padded to the width. In a spectrum, lines of a word and what it says may stand
    above the values, with a header below them or without.
    """
    while (
        len(rows) > start + 2
        and any(rows[start][:1])
        and sum(map(bool, rows[start])) == 1 < sum(map(bool, rows[start + 1]))
        and not any(map(_is_number, rows[start + 1]))
    ):
        start += 1
    n_text = next((i for i, row in enumerate(rows[start:]) if _is_numbers(row)), 0)
    if n_text and len(rows[start + n_text - 1]) != width:
        return start + n_text
    if n_text > 2 and width == 2:
        last = start + n_text - 1
        return last if PLACES.match(rows[last][0]) else last + 1
    return start


def _names_all_but_the_first(row: list[str], body: list[list[str]]) -> bool:
    """Return whether a row is a header as R writes it: without a cell over the rows' names."""
    firsts = [each[0] for each in body]
    if len(row) != len(body[0]) - 1 or not any(map(_is_number, body[0][1:])):
        return False
    if firsts == [str(number) for number in range(1, len(firsts) + 1)]:
        return True
    return len(row) > 1 and not any(map(_is_number, row)) and len(set(firsts)) == len(firsts)


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def _is_range(header: list[str]) -> bool:
    """Return whether numbers from zero stand over all columns but the first, as in pandas."""
    return len(header) > 1 and header == ["", *map(str, range(len(header) - 1))]


def _is_numbers(row: list[str]) -> bool:
    """Return whether a row holds numbers alone, or nothing."""
    return numbers_in(row) is not None


def _is_axis(values: NDArray[np.float64]) -> bool:
    """Return whether a row of numbers, after empty cells, is a header of wavelengths or times."""
    places = values[int(np.isnan(values).argmin()) :]
    return len(places) > 8 and rises_or_falls(places)


def rises_or_falls(values: NDArray[Any]) -> bool:
    """Return whether several values each exceed the one before, or each fall short of it."""
    steps = np.diff(values.astype(np.float64))
    return len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())


def _is_row_of_units(body: list[list[str]]) -> bool:
    """Return whether the first row holds words alone, and each stands over numbers."""
    first, *others = body
    if any(map(_is_number, first)) or not any(first):
        return False
    below = list(zip(*(row for row in others[:10] if len(row) == len(first)), strict=True))
    return all(
        numbers_in(cells) is not None and any(cells)
        for word, cells in zip(first, below, strict=False)
        if word
    )


def _name_and_unit(name: str, unit: str) -> tuple[str, str]:
    """Split a header such as "flow [L/min]" into name and unit."""
    match = WITH_UNIT.fullmatch(name)
    if unit or match is None or not match["name"]:
        return name, unit
    return match["name"], (match["square"] or match["round"] or "").strip()
