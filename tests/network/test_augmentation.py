from dataclasses import replace

import pytest
import torch

from hpo_utils.network.augmentation import Augmentation

NONE = Augmentation(noise=0.0, gain=0.0, offset=0.0, slope=0.0, shift=0.0, mixup=0.0)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(2000, 2, 40), (500, 1, 20, 8)])
def test_each_change_has_its_size(shape):
    """By regression: gain and offset of a sample, its slope, and the noise that remains."""
    x = torch.randn(1, *shape[1:]).expand(shape)
    flat = lambda changed: (changed - x).mean(tuple(range(2, x.ndim)))  # noqa: E731
    assert flat(replace(NONE, offset=0.3).changed(x)).std() == pytest.approx(0.3, rel=0.1)
    assert (replace(NONE, noise=0.2).changed(x) - x).std() == pytest.approx(0.2, rel=0.05)
    gains = (replace(NONE, gain=0.1).changed(x) / x).flatten(2)
    assert gains.std(2).max() < 1e-3
    assert gains[:, :, 0].std() == pytest.approx(0.1, rel=0.1)
    risen = replace(NONE, slope=0.5).changed(x) - x
    assert (risen[:, :, 0] + risen[:, :, -1]).abs().max() < 1e-5
    assert risen[:, :, -1].std() == pytest.approx(0.5, rel=0.1)


def test_a_shift_moves_a_sample_as_a_whole_and_repeats_its_end():
    x = torch.arange(20.0).expand(300, 2, 20)
    moved = replace(NONE, shift=0.1).changed(x)
    steps = moved[:, 0, 10] - 10.0
    assert set(steps.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    expected = (torch.arange(20.0) + steps[:, None]).clamp(0, 19)
    assert torch.equal(moved, expected[:, None].expand_as(moved))


def test_a_shift_of_an_image_is_along_its_rows():
    image = torch.arange(20.0)[:, None].expand(50, 1, 20, 3)
    moved = replace(NONE, shift=0.2).changed(image)
    assert torch.equal(moved[..., 0], moved[..., 2])
    assert not torch.equal(moved, image)


def test_partners_have_like_targets():
    z = torch.linspace(-2.0, 2.0, 1000)[:, None]
    found = z[replace(NONE, mixup=2.0).partners(z, z)]
    assert (found - z).std() == pytest.approx(0.3, rel=0.15)
    assert (found - z).abs().max() > 0.3


def test_a_mixture_lies_between_two_samples_by_one_share_for_inputs_and_targets():
    own, other = torch.zeros(4000, 3, 5), torch.ones(4000, 3, 5)
    x, z = replace(NONE, mixup=2.0).mixed((own, own[:, 0, :2]), (other, other[:, 0, :2]))
    assert torch.equal(x[:, :1, :2], z[:, None])
    assert x.amin() >= 0.0
    assert x.amax() <= 1.0
    assert z[:, 0].mean() == pytest.approx(0.5, abs=0.02)
    assert z[:, 0].var() == pytest.approx(1 / 20, rel=0.1)  # of Beta(2, 2)


def test_none_is_asked_for_by_default(make_config):
    assert Augmentation.of(make_config()) is None
    asked = Augmentation.of(make_config(**{"augmentation.noise": 0.1}))
    assert asked == replace(NONE, noise=0.1)
