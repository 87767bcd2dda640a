import pytest
import torch
from torch.nn import functional

from hpo_utils.network import winograd
from hpo_utils.network.winograd import n_tiles, winograd_convolution


def both(x, weight, grad=None):
    """Return output and gradients, of Winograd's way in float32 and of PyTorch's in float64."""
    found = []
    for convolve, dtype in ((winograd_convolution, torch.float32), (plain, torch.float64)):
        leaves = [each.detach().to(dtype).requires_grad_() for each in (x, weight)]
        out = convolve(*leaves)
        out.backward(torch.ones_like(out) if grad is None else grad.to(dtype))
        found.append((out.detach(), *(leaf.grad for leaf in leaves)))
    return found


def plain(x, weight):
    return functional.conv2d(x, weight, padding=1)


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (3, 9), (8, 12), (13, 6)])
@pytest.mark.parametrize("tiles_at_a_time", [1, 3, 5, 128])
def test_output_and_gradients_are_those_of_a_convolution(monkeypatch, size, tiles_at_a_time):
    monkeypatch.setattr(winograd, "BLOCK_TILES", tiles_at_a_time)
    x, weight = torch.randn(3, 5, *size), torch.randn(7, 5, 3, 3)
    for each, true in zip(*both(x, weight, torch.randn(3, 7, *size)), strict=True):
        assert each.shape == true.shape
        torch.testing.assert_close(each.double(), true, rtol=1e-4, atol=1e-4)


def test_a_single_value_shows_the_kernel_around_it():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 5] = 1.0
    weight = torch.arange(9.0).reshape(1, 1, 3, 3)
    out = winograd_convolution(x, weight)
    torch.testing.assert_close(out[0, 0, 3:6, 4:7], weight[0, 0].flip(0, 1), rtol=0, atol=1e-5)
    assert out.abs().sum() == pytest.approx(36, abs=1e-3)


def test_rounding_stays_near_that_of_plain_convolutions():
    torch.manual_seed(0)
    x, weight = torch.relu(torch.randn(4, 64, 32, 64)), torch.randn(64, 64, 3, 3) / 24
    for found, true in zip(*both(x, weight, torch.randn(4, 64, 32, 64)), strict=True):
        assert (found - true).square().mean().sqrt() < 1.5e-6 * true.std()


def test_both_layouts_give_channels_last_and_the_same():
    x, weight = torch.randn(2, 8, 10, 12), torch.randn(8, 8, 3, 3)
    outs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        outs.append(winograd_convolution(*(t.to(memory_format=layout) for t in (x, weight))))
        assert outs[-1].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(*outs)


@pytest.mark.parametrize("learned", ["x", "weight"])
def test_only_the_gradient_that_is_asked_for_is_computed(learned):
    tensors = {"x": torch.randn(1, 2, 4, 4), "weight": torch.randn(2, 2, 3, 3)}
    tensors[learned].requires_grad_()
    winograd_convolution(**tensors).sum().backward()
    assert [name for name, tensor in tensors.items() if tensor.grad is not None] == [learned]


def test_tiles_are_four_outputs_wide():
    assert n_tiles(torch.empty(2, 3, 8, 12)) == 2 * 2 * 3
    assert n_tiles(torch.empty(1, 3, 9, 1)) == 3
