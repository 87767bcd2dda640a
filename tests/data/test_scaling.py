import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hpo_utils.data.scaling import RunningStatistics, Standardizer, thinned


def statistics_of(values, pieces=3):
    statistics = RunningStatistics(values.shape[1])
    for piece in np.array_split(values, pieces):
        statistics.update(piece)
    return statistics


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6),
        elements=st.floats(-1e6, 1e6),
    )
)
def test_pieces_give_what_numpy_gives_for_the_whole(values):
    statistics = statistics_of(values)
    axes = (0, *range(2, values.ndim))
    np.testing.assert_allclose(statistics.mean, values.mean(axis=axes), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(statistics.std, values.std(axis=axes), rtol=1e-7, atol=1e-5)
    np.testing.assert_array_equal(statistics.min, values.min(axis=axes))
    np.testing.assert_array_equal(statistics.max, values.max(axis=axes))


def test_a_large_offset_does_not_cancel():
    values = 1e8 + np.arange(10.0).reshape(5, 2)
    np.testing.assert_allclose(statistics_of(values).std, values.std(axis=0), rtol=1e-9)


def test_rails_are_counted_over_pieces():
    values = np.array([[0.0, 5, 5, 1], [5, 2, 3, 0], [0, 4, 5, 1]])[:, None]
    # the smallest value three times, the largest four times; one of each is no repetition
    np.testing.assert_allclose(statistics_of(values).share_at_rails, [5 / 12])
    assert statistics_of(np.random.default_rng(0).normal(size=(9, 1, 50))).share_at_rails == 0


def test_a_constant_is_at_its_rails():
    statistics = RunningStatistics(2)
    statistics.update(np.stack([np.zeros((5, 8)), np.arange(40.0).reshape(5, 8)], axis=1))
    assert statistics.share_at_rails.tolist() == [1.0, 0.0]


def test_the_scaler_standardises_and_inverts():
    values = np.random.default_rng(0).normal(7.0, 3.0, size=(30, 2, 4, 5))
    scaler = statistics_of(values).standardizer()
    z = scaler.transform(values)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=(0, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=(0, 2, 3)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(scaler.inverse(z), values, rtol=1e-4, atol=1e-4)


def test_known_values_by_hand():
    scaler = Standardizer(np.array([1.0, -2.0]), np.array([2.0, 4.0]))
    np.testing.assert_array_equal(scaler.transform(np.array([[3.0, 2.0]])), [[1.0, 1.0]])
    np.testing.assert_array_equal(scaler.inverse(np.array([[1.0, 1.0]])), [[3.0, 2.0]])


def test_rows_are_thinned_to_their_means_or_to_the_first():
    x = np.arange(20.0).reshape(2, 1, 10)
    np.testing.assert_array_equal(thinned(x, 4, True)[0, 0], [1.5, 5.5, 8.5])  # the last of two
    np.testing.assert_array_equal(thinned(x, 4, False)[0, 0], [0, 4, 8])
    np.testing.assert_array_equal(thinned(x, 1, True), x)
    image = np.arange(24.0).reshape(1, 1, 6, 4)
    np.testing.assert_array_equal(thinned(image, 3, True)[0, 0, :, 0], [4, 16])


def test_means_keep_the_level_of_an_offset_and_a_ramp():
    ramp = (100 + np.linspace(0, 1, 400))[None, None]
    middles = ramp.reshape(100, 4)[:, 1:3].mean(axis=1)
    np.testing.assert_allclose(thinned(ramp, 4, True)[0, 0], middles, rtol=1e-12)
