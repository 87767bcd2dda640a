import pytest

from hpo_utils.base.formatting import (
    clock,
    interval_text,
    number_text,
    percent,
    short_name,
    significant,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_shares_intervals_and_names():
    assert (percent(0.95), percent(0.875), percent(1 / 3)) == ("95%", "87.5%", "33.3%")
    assert interval_text((0.12345, 0.5)) == "[0.123, 0.500]"
    assert interval_text((None, None)) == "–"
    assert short_name("model.hidden") == "hidden"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12300"), (996.4, "996"), (-1190, "-1190"), (5.0, "5"), (0.000123456, "0.000123"),
        (0.0, "0"), (1e-5, "1e-05"), (2.5e7, "2.5e+07"), (float("nan"), "nan"), (99.96, "100"),
    ],
)  # fmt: skip
def test_significant_digits_are_shown_without_an_exponent_where_people_write_none(value, text):
    assert significant(value) == number_text(value, ".3g") == text


def test_ends_of_an_interval_are_written_alike():
    assert interval_text((1170.2, 9880.4), ".3g") == "[1170, 9880]"
    assert interval_text((0.5, None)) == number_text(None) == "–"
