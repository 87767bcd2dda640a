"""Format numbers, durations and names as text."""

from __future__ import annotations

from collections.abc import Sequence


def percent(share: float) -> str:
    """Return a share as a percentage with at most three significant digits."""
    return f"{100 * share:.3g}%"


def significant(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, 12300 rather than 1.23e+04."""
    short = f"{value:.{digits}g}"
    rounded = float(short)
    plain = 1e-4 <= abs(rounded) < 1e6
    return f"{rounded:.9f}".rstrip("0").rstrip(".") if plain else short


def number_text(value: float | None, form: str = ".3f") -> str:
    """Return a number in format ``form``, ``.3g`` by ``significant``; a dash if it is None."""
    if value is None:
        return "–"
    return significant(value, int(form[1:-1])) if form.endswith("g") else f"{value:{form}}"


def interval_text(interval: Sequence[float | None], form: str = ".3f") -> str:
    """Return an interval as text, its ends as ``number_text``; a dash if there is no interval."""
    low, high = interval
    if low is None or high is None:
        return "–"
    return f"[{number_text(low, form)}, {number_text(high, form)}]"


def short_name(parameter: str) -> str:
    """Return a parameter's name without its section, for labels."""
    return parameter.rpartition(".")[2]


def clock(seconds: float) -> str:
    """Return a duration in its two largest units, such as hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def with_units(names: Sequence[str], units: Sequence[str]) -> list[str]:
    """Return names, each with its unit if it has one."""
    return [n if u == "-" else f"{n} [{u}]" for n, u in zip(names, units, strict=True)]
