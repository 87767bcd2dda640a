"""Axes along which values were taken: places of a spectrum, times of a recording and their rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.formats.tables import Column

SECONDS = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "sek": 1.0, "ms": 1e-3,
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9, "min": 60.0, "minutes": 60.0, "h": 3600.0,
    "hours": 3600.0,
}  # fmt: skip
UNITS = "|".join(sorted(SECONDS, key=len, reverse=True))
# beside numbered columns: a table of samples may say when each was measured, a recording must
PLAIN = re.compile(r"t|time|zeit|temps|tiempo|時間|時刻|seconds?|sec", re.IGNORECASE)
NAME = re.compile(
    r"((elapsed|relative|rel|test|mess)[ _.-]*)?"
    r"(?P<word>t|times?|time[ _]?stamps?|date[ _]?times?|zeit(stempel)?|uhrzeit|temps|tiempo|時間|"
    r"時刻|seconds?|sec|x_value)"
    rf"([ _]*(/|_| |\bin )[ _]*(?P<unit>{UNITS}))?",
    re.IGNORECASE,
)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
JITTER = 0.02  # of a step, by which even steps may differ
ROUNDED = 0.5  # of a step, which the last digit of rounded times may be
MOST_DECIMALS = 9
EVEN_PLACES = 0.01  # of a step, by which places of two spectra may differ
SAME = 1e-3  # of a rate, by which it may differ from that of another file


@dataclass(frozen=True)
class Axis:
    """Name with unit, first and last place of the axis of signals, and all of them if known."""

    name: str
    first: float
    last: float
    places: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def turned(self) -> Axis:
        """Return the axis from its last place to its first."""
        places = None if self.places is None else self.places[::-1]
        return Axis(self.name, self.last, self.first, places)

    def is_that_of(self, other: Axis | None) -> bool:
        """Return whether another axis has the same name and the same places, but for rounding."""
        if other is None or self.name != other.name:
            return False
        if self.places is None or other.places is None:
            return self == other
        if len(self.places) != len(other.places):
            return False
        apart = EVEN_PLACES * np.abs(np.diff(self.places)).min(initial=np.inf)
        return bool((np.abs(self.places - other.places) <= apart).all())


def axis_along(places: NDArray[np.float64], unit: str, name: str = "axis") -> Axis:
    """Return the axis from the first of these places to the last."""
    told = f"{name} [{unit}]" if unit else name
    return Axis(told, float(places[0]), float(places[-1]), places)


def is_time(column: Column) -> bool:
    """Return whether a column is called as times are.

    One called t or T may be a temperature: its unit must be that of times, and T must rise.
    """
    match = NAME.fullmatch(column.name.strip())
    if match is None or match["word"].lower() != "t":
        return match is not None
    if not (column.unit in ("", "-") or column.unit.lower() in SECONDS):
        return False
    numbers = column.numbers
    if match["word"] == "t":
        return True
    return numbers is not None and len(numbers) > 1 and bool((np.diff(numbers) > 0).all())


def rate_along(axis: Axis, length: int) -> float | None:
    """Return the rate in Hz of values along an axis of times; None if it is another one."""
    name, _, unit = axis.name.removesuffix("]").partition(" [")
    scale = SECONDS.get(unit.lower() or "s")
    if NAME.fullmatch(name) is None or scale is None or axis.last <= axis.first:
        return None
    return (length - 1) / ((axis.last - axis.first) * scale)


def rate_of(column: Column, path: Path) -> float:
    """Return the rate in Hz of an even column of times.

    Times are numbers, or text such as 2024-05-01 12:00:00.5 or 12:00:00.5. Their last digit may be
    rounded.

    Raises
    ------
    DataError
        If the unit is unknown, or the times do not rise in even steps.
    """
    times, digit = _in_seconds(column, path)
    if len(times) < 2:
        raise DataError(f"a recording must hold several times, got {path.name} with one")
    span = float(times[-1] - times[0])
    step = span / (len(times) - 1)
    even = times[0] + step * np.arange(len(times))
    tolerance = max(JITTER * step, 1.01 * digit if digit <= ROUNDED * step else 0.0)
    steps, apart = np.diff(times), _largest(times - even)
    if not step > 0 or max(_largest(steps - step), apart) > tolerance:
        raise DataError(
            "the times of a recording must rise in even steps, got steps from"
            f" {np.min(steps):g} to {np.max(steps):g} s in {path.name}: interpolate its values at"
            " even times, or leave out the column of times if they are even"
        )
    return _round(1.0 / step, 2 * apart / span)


def _largest(deviations: NDArray[np.float64]) -> float:
    """Return the size of the largest deviation; infinity if one is not known."""
    found = float(np.abs(deviations).max())
    return found if np.isfinite(found) else np.inf


def _in_seconds(column: Column, path: Path) -> tuple[NDArray[np.float64], float]:
    """Return times and their last digit in seconds, from numbers with the unit or from text."""
    if column.numbers is None:
        found = _of_text(column, path)
        return found, _last_digit(found)
    match = NAME.fullmatch(column.name.strip())
    unit = (column.unit if column.unit != "-" else "") or (match and match["unit"]) or "s"
    if unit.lower() not in SECONDS:
        raise DataError(
            f"the unit of times must be one of {', '.join(SECONDS)}, got {unit!r} in {path.name}"
        )
    scale = SECONDS[unit.lower()]
    return column.numbers * scale, _last_digit(column.numbers) * scale


def _of_text(column: Column, path: Path) -> NDArray[np.float64]:
    """Return the seconds since the first of times that are text, with or without a date."""
    for before in ("", "1970-01-01T"):
        found = [_moment(f"{before}{cell.strip().removesuffix('Z')}") for cell in column.cells]
        if all(each is not None for each in found):
            moments = np.array(found, dtype="datetime64[us]")
            since: NDArray[np.float64] = (moments - moments[0]) / np.timedelta64(1, "s")
            return since
        wrong = column.cells[found.index(None)]
    raise DataError(
        "times must be numbers of seconds, or written as 2024-05-01 12:00:00.5, got"
        f" {wrong!r} in {column.name} of {path.name}"
    )


def _moment(text: str) -> np.datetime64 | None:
    """Return the time that a text tells; None if it tells none, or one with a zone."""
    try:
        return np.datetime64(text, "us") if MOMENT.fullmatch(text) else None
    except ValueError:
        return None


def _last_digit(times: NDArray[np.float64]) -> float:
    """Return the place of the last digit of rounded times, such as 0.001; 0 if there is none."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = (times - times[0]) * 10.0**decimals
        if np.abs(scaled - np.round(scaled)).max() < 1e-3:
            return float(10.0**-decimals)
    return 0.0


def _round(rate: float, tolerance: float) -> float:
    """Return the roundest number that differs from a rate by no more than this share."""
    for digits in range(1, 13):
        found = float(f"{rate:.{digits}g}")
        if abs(found - rate) <= max(tolerance, 1e-9) * rate:
            return found
    return rate


def same_rate(one: float | None, other: float | None) -> bool:
    """Return whether two rates are the same, but for rounding; or none is known."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME * other


def times_first(columns: Sequence[Column]) -> list[Column]:
    """Return columns, that of times first."""
    return sorted(columns, key=lambda column: NAME.fullmatch(column.name.strip()) is None)
