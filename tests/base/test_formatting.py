import pytest

from hpo_utils.base.formatting import clock, interval_text, percent, short_name


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
