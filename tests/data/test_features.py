import numpy as np
import pytest

from hpo_utils.data.features import (
    MIN_SIGNAL,
    N_SPECTRAL_BANDS,
    band_means,
    channel_statistics,
    spectral_features,
)


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


def test_the_spectrum_of_a_tone():
    """Of 20 periods in 512 values, twice as loud in the second channel."""
    tone = np.sin(2 * np.pi * 20 * np.arange(512) / 512 + 0.3)
    found = spectral_features(np.stack([tone, 2 * tone])[None] + 7.0)
    # (1, n_features * n_channels) -> (n_features, n_channels)
    *bands, total, centroid, spread, peak = found.reshape(-1, 2)
    np.testing.assert_array_equal(peak, 20)
    np.testing.assert_allclose(centroid, 20, atol=0.01)
    np.testing.assert_allclose(spread, 1 / np.sqrt(3), atol=0.01)  # the width of Hann's main lobe
    np.testing.assert_allclose(total[1] - total[0], np.log10(4), atol=1e-6)
    assert np.argmax(bands, axis=0).tolist() == [np.argmax(bands) // 2] * 2


def test_white_noise_has_a_flat_spectrum():
    noise = np.random.default_rng(0).normal(size=(200, 1, 1024))
    found = spectral_features(noise).mean(axis=0)
    bands, (total, centroid, spread, _) = found[:-4], found[-4:]
    assert np.all(np.diff(bands[8:]) > 0)  # of equal ratio: the higher, the wider
    assert centroid == pytest.approx(512 / 2, rel=0.02)
    assert spread == pytest.approx(512 / np.sqrt(12), rel=0.02)
    # half of the power of all frequencies, positive and negative, by the mean square of the window
    assert 10**total == pytest.approx(0.5 * 3 / 8, rel=0.05)


@pytest.mark.parametrize("length", [MIN_SIGNAL[1], MIN_SIGNAL[1] + 1, 100])
def test_dead_and_short_channels_have_finite_features(length):
    found = spectral_features(np.zeros((3, 2, length)))
    assert np.isfinite(found).all()
    assert 2 * 8 < found.shape[1] <= 2 * (N_SPECTRAL_BANDS[1] + 4)


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (64, 40)])
def test_waves_that_run_up_and_down_are_found_in_the_same_band(size):
    h, w = np.meshgrid(*(np.arange(n) / n for n in size), indexing="ij")
    up, down = (np.cos(2 * np.pi * (3 * w + sign * 2 * h)) for sign in (1, -1))
    found = spectral_features(np.stack([up, down, 0 * up])[:, None])
    assert np.isfinite(found).all()
    assert found[0].max() == pytest.approx(found[1].max(), abs=1e-3)
    assert found[0].argmax() == found[1].argmax() > 0
    assert found[0].max() > found[2].max() + 6
    # of all power, that of the band that holds (2, 3) is most
    assert 10 ** found[0].max() > 0.25 * (10 ** found[0]).sum()


def test_the_constant_band_of_an_image_is_its_first():
    stripes = np.cos(2 * np.pi * 5 * np.arange(64) / 64) * np.ones((64, 1))  # along W alone
    along_h = spectral_features(stripes.T[None, None]).reshape(8, 8)
    along_w = spectral_features(stripes[None, None]).reshape(8, 8)
    np.testing.assert_allclose(along_h, along_w.T, atol=1.0)
    assert along_w.argmax() < 8  # the first row of bands
