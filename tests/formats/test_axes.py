"""Axes: which column holds times, their rate, and whether two spectra have the same places."""

from pathlib import Path

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats.axes import Axis, axis_along, is_time, rate_of, same_rate
from hpo_utils.formats.tables import Column

PATH = Path("a.csv")
K = np.arange(200)


def times(values, unit="s", name="time"):
    return Column(name, unit, [f"{each:g}" for each in values], np.asarray(values, dtype=float))


@pytest.mark.parametrize(
    "name",
    ["t", "Time", "time_ms", "t / s", "t/ms", "Time_s", "Timestamp", "Elapsed time", "Uhrzeit",
     "Zeit in s", "時間"],
)  # fmt: skip
def test_columns_are_called_times(name):
    assert is_time(times(K, "", name))


@pytest.mark.parametrize("name", ["tmin", "temperature", "pressure", "t1", "timer_count", "ts"])
def test_other_columns_are_not(name):
    assert not is_time(times(K, "", name))


def test_a_temperature_is_no_time():
    assert not is_time(times(K, "°C", "T"))
    assert not is_time(times(K % 7, "", "T"))
    assert not is_time(times(K % 7, "", "T_s"))
    assert is_time(times(K, "", "T"))
    assert not is_time(times(K, "°C", "t"))


@pytest.mark.parametrize(
    ("values", "unit", "name", "rate"),
    [
        (K / 1000, "s", "time", 1000.0),
        (2.0 * K, "ms", "time", 500.0),
        (2.0 * K, "", "time_ms", 500.0),
        (3600.5 + K / 1000, "s", "time", 1000.0),
        (K / 3, "", "t", 3.0),
        (0.003 * K, "s", "t", 1 / 0.003),
        (np.round(K / 60, 3), "s", "t", 60.0),  # rounded to milliseconds
        (np.round(K / 400, 3), "s", "t", 400.0),
        (K / 100 + 1e-4 * np.sin(K), "s", "t", 100.0),
        (K / 10.0, "h", "t", 10 / 3600),
        (np.round(K / 300, 3), "min", "time", 5.0),
    ],
)
def test_the_rate_of_even_times(values, unit, name, rate):
    assert rate_of(times(values, unit, name), PATH) == pytest.approx(rate, rel=1e-3)


def test_the_rate_of_offset_times_is_the_same_to_the_last_digit():
    assert {rate_of(times(start + K / 1000), PATH) for start in (0, 100.123, 3600.5)} == {1000.0}


@pytest.mark.parametrize(
    "cells",
    [
        [f"2024-05-01 12:00:0{k}.500" for k in range(5)],
        [f"2024-05-01T12:00:0{k}Z" for k in range(5)],
        [f"12:00:0{k}" for k in range(5)],
    ],
)
def test_times_may_be_written_as_dates(cells):
    assert rate_of(Column("time", "", cells, None), PATH) == 1.0


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (times(np.delete(K, 100) / 1000), "even steps"),  # one is missing
        (times(np.geomspace(1, 2, 200)), "even steps"),
        (times(K[::-1]), "even steps"),
        (times(np.where(K == 3, np.nan, K)), "even steps"),
        (times([1.0]), "several times"),
        (times(K, "furlong"), "unit of times must be one of s, .* got 'furlong'"),
        (Column("time", "", ["12:00:00", "night"], None), "written as 2024.* got 'night'"),
    ],
)
def test_other_times_are_refused_with_what_to_do(column, said):
    with pytest.raises(DataError, match=said):
        rate_of(column, PATH)


def test_rates_are_the_same_but_for_rounding():
    assert same_rate(999.9999, 1000.0)
    assert same_rate(None, None)
    assert not same_rate(990.0, 1000.0)
    assert not same_rate(None, 1000.0)


def test_axes_are_compared_place_by_place():
    even = axis_along(np.linspace(400, 1000, 50), "nm")
    assert even.is_that_of(axis_along(np.linspace(400, 1000, 50).round(2), "nm"))
    assert not even.is_that_of(axis_along(1 / np.linspace(1 / 400, 1 / 1000, 50), "nm"))
    assert not even.is_that_of(axis_along(np.linspace(400, 1000, 51), "nm"))
    assert not even.is_that_of(axis_along(np.linspace(400, 1000, 50), "1/cm"))
    assert not even.is_that_of(None)
    assert even.is_that_of(Axis("axis [nm]", 400.0, 1000.0))
    assert even.turned().turned().is_that_of(even)
