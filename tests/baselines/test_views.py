import numpy as np
import pytest
import torch

from hpo_utils.baselines import views as module
from hpo_utils.baselines.spectra import power_spectrum
from hpo_utils.baselines.views import CURVATURE, LINEAR, TREE, block_means, quantiles, views

RNG = np.random.default_rng(0)


class Looking(torch.nn.Module):
    """Views of one kind as a module, to be exported."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return views(x, self.kind)[0]


SHAPES = [
    (2, 1, 3), (2, 1, 10), (2, 3, 40), (2, 1, 700), (2, 2, 5, 7), (2, 2, 40, 60), (2, 1, 2, 90),
]  # fmt: skip


@pytest.mark.parametrize("kind", [LINEAR, TREE])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_is_seen_alone_and_finitely(kind, shape):
    x = torch.from_numpy(RNG.normal(size=shape).astype(np.float32))
    found = views(x, kind)[0]
    assert torch.isfinite(found).all()
    torch.testing.assert_close(views(x[1:], kind)[0], found[1:])
    assert torch.isfinite(views(torch.zeros(shape), kind)[0]).all()


@pytest.mark.parametrize("kind", [LINEAR, TREE])
@pytest.mark.parametrize("shape", SHAPES)
def test_onnx_sees_the_same(kind, shape, run_onnx):
    x = torch.from_numpy(RNG.normal(size=(5, *shape[1:])).astype(np.float32))
    np.testing.assert_allclose(run_onnx(Looking(kind), x), views(x, kind)[0], atol=1e-6)


def test_large_images_are_looked_at_in_part_but_at_every_frequency(monkeypatch):
    """A tone along either axis, far above what thinned rows could hold, still moves the views."""
    monkeypatch.setattr(module, "MAX_IMAGE", 64 * 8)
    row, column = torch.arange(64)[:, None], torch.arange(80)
    for phase in (row, column):
        slow, fast = (torch.cos(rate * (phase + 0 * row + 0 * column)) for rate in (2.2, 2.9))
        x = torch.stack([slow, fast])[:, None]
        a, b = views(x, LINEAR)[0]
        assert (a - b).abs().max() > 1.0
    assert module._some_lines(x, 3).shape == (2, 1, 64, 8)


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (64, 40)])
def test_waves_that_run_up_and_down_are_told_apart(size):
    h, w = np.meshgrid(*(np.arange(n) / n for n in size), indexing="ij")
    up, down = (np.cos(2 * np.pi * (3 * w + sign * 2 * h)) for sign in (1, -1))
    power = power_spectrum(torch.from_numpy(np.stack([up, down, 0 * up])[:, None]), (2, 3))
    found = module._log_patches(power, TREE)[:, 0].numpy()
    assert np.isfinite(found).all()
    assert found[0].max() == pytest.approx(found[1].max(), abs=1e-3)
    assert found[0].argmax() != found[1].argmax()
    assert found[0].max() > found[2].max() + 6
    # of all power, that of the patch that holds (2, 3) is most
    assert 10 ** found[0].max() > 0.25 * (10 ** found[0]).sum()


def test_quantiles_are_those_of_each_part():
    line = torch.arange(16.0, dtype=torch.float64)[None, None]
    found = quantiles(line)[0, 0].reshape(7, 6).numpy()  # the whole, two halves, four quarters
    np.testing.assert_array_equal(found[:, 0], [0, 0, 8, 0, 4, 8, 12])
    np.testing.assert_array_equal(found[:, 4], [15, 7, 15, 3, 7, 11, 15])
    np.testing.assert_array_equal(found[:, 5], [7.5, 3.5, 11.5, 1.5, 5.5, 9.5, 13.5])


def test_block_means_keep_the_mean_of_blocks_of_equal_length():
    x = torch.from_numpy(RNG.normal(size=(3, 2, 100)))
    torch.testing.assert_close(block_means(x, 20).mean(-1), x.mean(-1))
    torch.testing.assert_close(block_means(x, 20)[..., 3], x[..., 15:20].mean(-1))
    assert block_means(x, 100) is x


def test_curvature_does_not_see_offset_slope_and_gain():
    x = torch.from_numpy(RNG.normal(size=(4, 1, 60)).cumsum(axis=2))
    scattered = 3.0 * x + 2.0 + 0.1 * torch.arange(60)
    torch.testing.assert_close(views(scattered, CURVATURE)[0], views(x, CURVATURE)[0])
