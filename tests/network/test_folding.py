import pytest
import torch
from torch import nn

from hpo_utils.base.config import load_config
from hpo_utils.network import folding
from hpo_utils.network.convolutions import Conv1d, Conv2d
from hpo_utils.network.folding import Folding, Moments, create_moments, fold, patch_moments
from hpo_utils.network.models import create_model, first_convolution

SHAPES = {"signal": (6, 3, 40), "image": (6, 3, 12, 9), "line": (6, 3, 1, 9)}
KERNELS = [3, 7]


def layers(shape, kernel):
    """Return a convolution and its normalisation in float64, with scales of both signs."""
    kinds = (Conv1d, nn.BatchNorm1d) if len(shape) == 3 else (Conv2d, nn.BatchNorm2d)
    conv = kinds[0](shape[1], 5, kernel, padding=kernel // 2, bias=False).double()
    norm = kinds[1](5).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return conv, norm


@pytest.fixture(params=SHAPES)
def x(request):
    torch.manual_seed(0)
    return torch.randn(SHAPES[request.param], dtype=torch.float64) + 0.5


def trained(stack, x, *moments):
    """Return outputs, gradients and running statistics of one pass in training."""
    out = stack.train()(x, *moments)
    out.square().mul(torch.linspace(0, 1, out[0].numel()).reshape(out[0].shape)).sum().backward()
    return [out, *(each.grad for each in stack.parameters()), *stack.buffers()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_outputs_gradients_and_statistics_are_those_of_batch_normalisation(x, kernel):
    found = []
    for folds in (False, True):
        torch.manual_seed(1)
        stack = Folding(*layers(x.shape, kernel), nn.Tanh())
        moments = patch_moments(x, stack[0]).sum(0)
        found.append(trained(stack, x, *[moments] * folds))
    for plain, folded in zip(*found, strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_moments_are_those_of_the_outputs_of_a_convolution(x, kernel):
    conv, _ = layers(x.shape, kernel)
    moments = patch_moments(x, conv)
    rows = conv.weight.flatten(1)
    out = conv(x).flatten(2)  # (n_samples, n_out, n_places)
    torch.testing.assert_close(moments[:, -1, :-1] @ rows.T, out.sum(2))
    second = rows @ moments[:, :-1, :-1] @ rows.T
    torch.testing.assert_close(second, out @ out.mT)
    assert (moments[:, -1, -1] == out.shape[2]).all()


def test_blocks_of_places_add_up(monkeypatch, x):
    conv, _ = layers(x.shape, 3)
    whole = patch_moments(x, conv)
    monkeypatch.setattr("hpo_utils.network.folding.BLOCK_VALUES", 1)
    torch.testing.assert_close(patch_moments(x, conv), whole)


def test_a_filter_that_leaves_little_of_smooth_signals_is_normalised_all_the_same():
    smooth = torch.sin(torch.linspace(0, 3, 500)).repeat(4, 1, 1)
    smooth += 10 * torch.arange(4.0).view(4, 1, 1)  # float32 could not tell the variance from zero
    conv, norm = Conv1d(1, 1, 3, padding=0, bias=False), nn.BatchNorm1d(1, eps=0.0)
    conv.weight.data = torch.tensor([[[-1.0, 1.0, 0.0]]])
    with torch.no_grad():
        weight, bias = fold(conv.weight, norm, patch_moments(smooth, conv).sum(0))
    out = nn.functional.conv1d(smooth.double(), weight.double(), bias.double())
    assert float(out.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(out.var(correction=0)) == pytest.approx(1.0, rel=1e-3)


def network(shape, *overrides):
    """Return a network without dropout."""
    model = create_model(load_config(None, overrides), torch.zeros(shape), 3)
    for layer in filter(lambda each: isinstance(each, nn.Dropout), model.modules()):
        layer.p = 0.0
    return model


@pytest.mark.parametrize("shape", [(4, 2, 40), (4, 2, 24, 32)])
def test_networks_are_the_same_with_moments_and_without(shape):
    torch.manual_seed(0)
    model = network(shape, "model.use_residual=false")
    x = torch.randn(shape)
    moments = patch_moments(x, first_convolution(model)).sum(0)
    torch.testing.assert_close(model(x, moments), model(x), rtol=1e-4, atol=1e-5)


def test_each_sample_is_taken_once(monkeypatch):
    x, conv = torch.randn(5, 2, 6, 6), Conv2d(2, 4, 3, padding=1, bias=False)
    moments, taken = Moments(5, conv), []
    true = folding.patch_moments
    monkeypatch.setattr(
        folding, "patch_moments", lambda x, conv: taken.append(len(x)) or true(x, conv)
    )
    for index in ([0, 1], [1, 2, 3], [3, 0], [4]):
        found = moments.of_batch(torch.tensor(index), x[index])
        torch.testing.assert_close(found, patch_moments(x[index], conv).sum(0))
    assert taken == [2, 2, 1]


def test_moments_are_left_where_they_do_not_pay(monkeypatch):
    x, float32 = torch.randn(8, 2, 64, 128), torch.float32
    conv = Conv2d(2, 32, 3, padding=1, bias=False)
    assert create_moments(x, conv, 2, float32) is not None
    assert create_moments(x, conv, 1, float32) is None  # too small a step
    assert create_moments(x, conv, 2, torch.bfloat16) is None
    strided = Conv2d(2, 512, 7, stride=2, padding=3, bias=False)
    assert create_moments(x, strided, 2, float32) is None
    elsewhere = Conv2d(2, 32, 3, padding=1, bias=False, device="meta")
    assert create_moments(x, elsewhere, 2, float32) is None
    monkeypatch.setattr(folding, "MAX_MOMENTS", 8 * 19 * 19 * 8 - 1)
    assert create_moments(x, conv, 2, float32) is None
