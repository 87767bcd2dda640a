"""The domain of application: T², Q and neighbour of the inputs, and how often they call falsely."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from hpo_utils.baselines import domain
from hpo_utils.baselines.domain import Domain, features
from hpo_utils.data.preparation import prepare_data


def signals(n, rng, n_modes=4):
    """Sums of a few modes and noise, so that few components explain most."""
    axis = np.linspace(0, 1, 96)
    modes = np.stack([np.sin((k + 1) * np.pi * axis) / (k + 1) for k in range(n_modes)])
    x = rng.normal(size=(n, 2, n_modes)) @ modes + 0.1 * rng.normal(size=(n, 2, 96))
    return x.astype(np.float32)


@pytest.fixture
def prepared(make_config, make_arrays):
    def make(x):
        return prepare_data(make_config(**make_arrays(x, x[:, 0, :2])))

    return make


@pytest.mark.parametrize("shape", [(5, 3, 70), (5, 2, 20), (5, 2, 33, 20)])
def test_features_are_level_and_log_spread_of_bands(shape):
    x = np.random.default_rng(0).normal(size=shape)
    bands = [min({1: 32, 2: 8}[len(shape) - 2], length) for length in shape[2:]]
    edges = [
        np.linspace(0, n, k + 1).round().astype(int) for n, k in zip(shape[2:], bands, strict=True)
    ]
    slices = [[slice(a, b) for a, b in pairwise(e)] for e in edges]
    pieces = [x[:, :, i] for i in slices[0]]
    if len(slices) == 2:
        pieces = [x[:, :, i, j] for i in slices[0] for j in slices[1]]
    flat = [piece.reshape(*shape[:2], -1) for piece in pieces]
    level = np.stack([each.mean(2) for each in flat], 2).reshape(5, -1)
    spread = np.stack([each.std(2) for each in flat], 2).reshape(5, -1)
    found = features(torch.from_numpy(x)).numpy()
    if len(shape) == 3:  # bands of an image are averaged one axis after the other
        np.testing.assert_allclose(
            found, np.hstack([level, np.log(spread + domain.FLOOR)]), atol=1e-9
        )
    assert found.shape == (5, 2 * level.shape[1])


@pytest.mark.parametrize(
    ("shape", "n_bands"), [((2, 64, 40), 8), ((2, 600, 40), 1), ((2, 32, 9, 9), 16)]
)
def test_many_channels_have_wider_bands(shape, n_bands):
    assert features(torch.zeros(shape)).shape == (2, 2 * shape[1] * n_bands)


def test_distances_are_those_of_scikit_learn(prepared):
    data = prepared(signals(300, np.random.default_rng(0)))
    model = Domain.of(data)
    x, new = (
        features(torch.from_numpy(data.inputs(part).copy())).numpy() for part in ("train", "test")
    )
    standard, scores = ((each - x.mean(axis=0)) / x.std(axis=0) for each in (x, new))
    pca = PCA(len(model.variances)).fit(standard)
    distances = EmpiricalCovariance(assume_centered=True).fit(pca.transform(standard))
    rest, new_rest = (
        each - pca.inverse_transform(pca.transform(each)) for each in (standard, scores)
    )
    beyond = ((new_rest / rest.std(axis=0)) ** 2).sum(axis=1)
    expected = np.stack([distances.mahalanobis(pca.transform(scores)), beyond], axis=1)
    found = model(torch.from_numpy(data.inputs("test").copy())).numpy() * model.limits.numpy()
    np.testing.assert_allclose(found[:, :2], expected, rtol=1e-6)
    k = model.neighbours.shape[1]
    white = PCA(k, whiten=True).fit(standard)  # by n - 1, the model by n
    known, new = (
        white.transform(each) * (len(x) / (len(x) - 1)) ** 0.5 for each in (standard, scores)
    )
    apart, _ = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(new)
    np.testing.assert_allclose(found[:, 2], apart[:, 0] ** 2, rtol=1e-6)


@pytest.mark.parametrize("n", [150, 600])
def test_like_samples_are_called_outside_as_rarely_as_promised(prepared, n):
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(8):
        data = prepared(signals(n, rng))
        new = torch.from_numpy(signals(1000, rng) / data_scale(data))
        shares.append(float((Domain.of(data)(new) > 1).any(1).float().mean()))
    assert 0.02 < np.mean(shares) < 0.075  # 5 %, and its error from so few held-out samples


def data_scale(data):
    return np.array(data.manifest["channel_statistics"]["std"], dtype=np.float32)[:, None]


def test_what_training_did_not_hold_is_outside(prepared):
    rng = np.random.default_rng(2)
    data = prepared(signals(400, rng))
    model = Domain.of(data)
    known = torch.from_numpy(data.inputs("test").copy())
    bump = torch.exp(-((torch.linspace(0, 1, 96) - 0.3) / 0.03).square())
    assert (model(known) > 1).any(1).float().mean() < 0.15
    for changed in (known + 2 * bump, 4 * known, known + torch.randn(known.shape)):
        assert (model(changed) > 1).any(1).float().mean() > 0.8
    assert (model(known + 2 * bump)[:, 1] > 1).float().mean() > 0.8  # beyond what varied before


def test_leverages_of_the_training_part_add_up_to_the_number_of_parameters():
    x = signals(200, np.random.default_rng(7))
    model = Domain.fitted(x, x)
    found = domain.leverages(model, x, 200)
    assert found.sum() == pytest.approx(1 + len(model.variances))


def ring(n, radius, rng):
    """Two modes whose heights lie on a circle, and little noise."""
    axis, angle = np.linspace(0, 1, 96), rng.uniform(0, 2 * np.pi, n)
    heights = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    modes = np.stack([np.sin(2 * np.pi * axis), np.cos(2 * np.pi * axis)])
    return (heights @ modes + 0.2 * rng.normal(size=(n, 96)))[:, None].astype(np.float32)


def test_a_gap_amid_the_training_samples_is_outside_by_the_neighbour_alone():
    rng = np.random.default_rng(3)
    model = Domain.fitted(ring(300, 1.0, rng), ring(80, 1.0, rng))
    like, amid = (domain.distances(model, ring(200, r, rng)) for r in (1.0, 0.3))
    assert (like > 1).any(axis=1).mean() < 0.1
    assert (amid[:, 2] > 1).mean() > 0.9
    assert (amid[:, :2] > 1).any(axis=1).mean() < 0.1


def test_a_small_gap_between_dense_samples_is_none():
    rng = np.random.default_rng(6)
    model = Domain.fitted(ring(2000, 1.0, rng), ring(500, 1.0, rng))
    assert model.limits[2] == domain.LEAST_GAP**2
    near = domain.distances(model, ring(300, 0.8, rng))
    assert (near[:, 2] > 1).mean() < 0.02


def test_a_domain_without_neighbours_is_that_of_an_older_bundle():
    rng = np.random.default_rng(4)
    x = signals(100, rng)
    arrays = Domain.fitted(x, signals(40, rng)).arrays()
    del arrays["neighbours"]
    older = Domain({**arrays, "limits": arrays["limits"][:2]})
    found, now = domain.distances(older, x), domain.distances(Domain.fitted(x, x[:40]), x)
    assert found.shape == (100, 2)
    assert now.shape == (100, 3)
    assert len(older.wider_limits(2.0 * found)) == 2


def test_a_replicate_is_no_neighbour():
    """Five spectra of each of 60 specimens, which are nearly the same."""
    rng, shares = np.random.default_rng(8), []
    for _ in range(6):
        groups = np.repeat(np.arange(60), 5)
        train = signals(60, rng)[groups] + 0.02 * rng.normal(size=(300, 2, 96)).astype(np.float32)
        val, new = signals(40, rng), signals(400, rng)
        told, untold = (Domain.fitted(train, val, known) for known in (groups, None))
        assert told.limits[2] >= untold.limits[2]
        shares.append((domain.distances(told, new) > 1).any(axis=1).mean())
    assert np.mean(shares) < 0.08
    one = Domain.fitted(train, val, np.zeros(300, dtype=int))  # nothing would be left
    assert torch.isfinite(one.limits).all()


def test_no_training_sample_is_its_own_neighbour(monkeypatch):
    rng = np.random.default_rng(5)
    x = signals(60, rng)
    for most in (1000, 20):
        monkeypatch.setattr(domain, "MAX_NEIGHBOURS", most)
        model = Domain.fitted(x, x)  # which tells the limits nothing of new samples
        assert model.neighbours.shape[0] == min(60, most)
        assert (domain.distances(model, signals(500, rng))[:, 2] > 1).mean() < 0.15


def test_components_lead_if_they_exceed_a_broken_stick():
    pieces = np.array([1 + 1 / 2 + 1 / 3 + 1 / 4, 1 / 2 + 1 / 3 + 1 / 4, 1 / 3 + 1 / 4, 1 / 4])
    assert domain._n_leading(pieces + np.array([0.1, 0.1, -0.1, 0.1]), 4) == 2
    assert domain._n_leading(pieces - 0.1, 4) == 1


@pytest.mark.parametrize("shape", [(40, 4, 8, 12), (40, 16), (40, 2, 2)])
def test_small_inputs_have_a_domain(make_config, make_arrays, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    data = prepare_data(make_config(**make_arrays(x, rng.normal(size=(40, 1)))))
    found = Domain.of(data)(torch.from_numpy(data.inputs("test").copy()))
    assert torch.isfinite(found).all()
