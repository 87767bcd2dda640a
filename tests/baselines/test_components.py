import numpy as np
import torch
from sklearn.decomposition import PCA

from hpo_utils.base.config import updated
from hpo_utils.baselines.components import REACH, Components, SmoothScaling, load_sight, sight_of
from hpo_utils.data.preparation import prepare_data

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(50, 8)) @ RNG.normal(size=(8, 12)) + RNG.normal(size=12)


def test_components_are_those_of_scikit_learn():
    found = Components.of(FEATURES, 5)(torch.from_numpy(FEATURES)).numpy()
    standard = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0) / np.sqrt(12)
    known = PCA(5).fit_transform(standard)
    np.testing.assert_allclose(np.abs(found), np.abs(known), atol=1e-10)


def test_more_features_than_samples_give_the_same_directions():
    wide = np.hstack([FEATURES] * 6)
    found = Components.of(wide, 5)(torch.from_numpy(wide)).numpy()
    known = Components.of(FEATURES, 5)(torch.from_numpy(FEATURES)).numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(known), atol=1e-7)


def test_features_that_do_not_vary_count_for_nothing():
    with_constant = np.hstack([FEATURES, np.full((50, 1), 7.0)])
    model = Components.of(with_constant)
    other = with_constant.copy()
    other[:, -1] = 1e6
    torch.testing.assert_close(
        model(torch.from_numpy(other)), model(torch.from_numpy(with_constant))
    )


def test_far_features_are_believed_no_further_than_a_margin():
    far, farther = (Components.of(FEATURES)(torch.from_numpy(s * FEATURES)) for s in (1e3, 1e6))
    torch.testing.assert_close(far, farther)
    scaling = SmoothScaling.of(FEATURES)
    assert scaling(torch.from_numpy(1e6 * FEATURES)).abs().max() <= REACH


def test_a_sight_is_kept_with_its_data_and_read_again(make_config):
    data = prepare_data(make_config())
    cfg = make_config()
    first, again = load_sight(data, 2), load_sight(data, 2)
    x = torch.from_numpy(np.array(data.inputs("val", 2)))
    torch.testing.assert_close(first(x), again(x))
    file = next(data.directory.glob("sight-*"))
    file.write_bytes(file.read_bytes()[:100])
    torch.testing.assert_close(load_sight(data, 2)(x), first(x))
    assert (
        sight_of(updated(cfg, {"model.linear_start": False, "model.use_views": False}), data)
        is None
    )
