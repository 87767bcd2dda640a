import numpy as np
import pytest

from hpo_utils.data.features import band_means, channel_statistics


def test_bands_and_statistics_of_ramps_and_constants():
    ramp = np.arange(64.0)[None, None]
    np.testing.assert_allclose(band_means(ramp), np.arange(0.5, 64, 2)[None])
    images = np.ones((3, 2, 16, 24)) * np.array([1.0, 5.0])[:, None, None]
    np.testing.assert_allclose(band_means(images), np.repeat([[1.0, 5.0]] * 3, 64, axis=1))
    (statistics,) = channel_statistics(3 * ramp)
    mean, std, low, high, median, first, last, slope, step, step_std = statistics
    assert (mean, low, high, median, first, last) == (94.5, 0, 189, 94.5, 0, 189)
    assert std == pytest.approx(3 * np.sqrt((64**2 - 1) / 12))
    assert (slope, step, step_std) == (pytest.approx(3), 3, 0)
