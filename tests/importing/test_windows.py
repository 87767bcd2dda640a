from pathlib import Path

import numpy as np
import pytest

from hpo_utils.base.errors import DataError
from hpo_utils.formats.recordings import Recording
from hpo_utils.importing.windows import at_rate, cut


def recording(values, rate):
    return Recording(Path("a.wav"), np.atleast_2d(values), ["p"], ["-"], rate)


def test_windows_follow_each_other_by_their_step():
    values = np.arange(10.0)[None]
    windows, n_gaps = cut(values, 4, 3)
    np.testing.assert_array_equal(windows[:, 0], [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert n_gaps == 0
    assert len(cut(values, 11, 1)[0]) == 0


def test_a_window_with_a_gap_is_dropped_and_counted():
    values = np.arange(12.0)[None].copy()
    values[0, 5] = np.nan
    windows, n_gaps = cut(values, 4, 4)
    assert (len(windows), n_gaps) == (2, 1)


def test_another_rate_keeps_level_and_slope_and_takes_off_what_is_faster():
    t = np.arange(2000) / 1000
    line = at_rate(recording(5.0 + t, 1000.0), 250.0)
    np.testing.assert_allclose(line[0], 5.0 + np.arange(500) / 250, atol=1e-3)
    fast = at_rate(recording(np.sin(2 * np.pi * 240 * t), 1000.0), 250.0)
    assert np.abs(fast[0, 20:-20]).max() < 0.05  # would fold to 10 Hz
    slow = at_rate(recording(np.sin(2 * np.pi * 10 * t), 1000.0), 250.0)
    assert np.abs(slow[0, 20:-20]).max() == pytest.approx(1.0, abs=0.02)


def test_a_rate_that_is_not_known_cannot_be_changed():
    with pytest.raises(DataError, match="must say its rate"):
        at_rate(recording(np.zeros(10), None), 100.0)


@pytest.mark.parametrize(("rate", "length"), [(700.0, 14), (300.0, 6), (12_500.0, 250)])
def test_rates_in_any_ratio_are_kept(rate, length):
    t = np.arange(20_000) / 1e6
    found = at_rate(recording(5.0 + t, 1e6), rate)
    assert found.shape == (1, length)
    np.testing.assert_allclose(found[0], 5.0 + np.arange(length) / rate, atol=1e-3)


def test_a_rate_far_above_the_recorded_one_is_refused():
    with pytest.raises(DataError, match="at most|to 1000 times"):
        at_rate(recording(np.zeros(10), 100.0), 1e9)


@pytest.mark.parametrize("place", [0, 1000, 1999])
def test_a_gap_stays_where_it_is(place):
    values = np.sin(np.arange(2000) / 50)
    whole = at_rate(recording(values, 1000.0), 500.0)[0]
    values[place] = np.nan
    found = at_rate(recording(values, 1000.0), 500.0)[0]
    spoilt = np.flatnonzero(np.isnan(found))
    assert 1 <= len(spoilt) <= 22
    assert np.abs(spoilt - place / 2).max() <= 11
    np.testing.assert_allclose(found[~np.isnan(found)], whole[~np.isnan(found)], atol=1e-3)
