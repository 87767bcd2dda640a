import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from hpo_utils.network import convolutions
from hpo_utils.network.convolutions import Conv2d, weight_gradient

GRADIENTS = """
import torch
from torch.nn import functional as F
from hpo_utils.network.convolutions import Conv1d, Conv2d

torch.manual_seed(0)  # a rounding error in bfloat16 is large now and then

for dtype in (torch.float32, torch.bfloat16):
    for size in ((1,), (2,), (9,), (1, 1), (1, 9), (9, 1), (4, 32)):
        for kernel in (1, 3, 7):
            for n in (2, 8, 16):
                conv = {1: Conv1d, 2: Conv2d}[len(size)](n, n, kernel, 2, kernel // 2, bias=False)
                x = torch.randn(5, n, *size)
                if len(size) == 2:
                    conv, x = (each.to(memory_format=torch.channels_last) for each in (conv, x))
                with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                    y = conv(x)
                g = torch.randn_like(y)
                y.backward(g)
                weight = conv.weight.detach().to(dtype).double().requires_grad_()
                plain = {1: F.conv1d, 2: F.conv2d}[len(size)]
                expected = plain(x.to(dtype).double(), weight, None, 2, kernel // 2)
                expected.backward(g.double())
                case = f"{dtype} {size} {kernel} {n}"
                rtol, atol = (1e-4, 1e-4) if dtype == torch.float32 else (0.05, 0.1)
                for found, wanted in ((y, expected), (conv.weight.grad, weight.grad)):
                    torch.testing.assert_close(
                        found.double(), wanted, rtol=rtol, atol=atol, msg=lambda m: case + ": " + m
                    )
"""


@pytest.mark.parametrize("widest", ["AVX2", "DEFAULT"])
def test_strided_convolutions_have_true_gradients_whatever_is_in_the_memory(widest):
    environment = {**os.environ, "MALLOC_PERTURB_": "1", "ONEDNN_MAX_CPU_ISA": widest}
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[-500:]) == (0, "")


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((40,), (3,), (1,)), ((41,), (7,), (2,)), ((9, 16), (3, 3), (1, 1)), ((9, 16), (3, 5), (2, 1)),
     ((1, 8), (3, 3), (2, 2)), ((8, 6), (1, 1), (2, 2))],
)  # fmt: skip
@pytest.mark.parametrize("values_at_a_time", [1, 2**20])
def test_the_gradient_as_a_product_is_the_true_one(
    monkeypatch, size, kernel, stride, values_at_a_time
):
    monkeypatch.setattr(convolutions, "PATCH_VALUES", values_at_a_time)
    padding = [k // 2 for k in kernel]
    x = torch.randn(5, 3, *size, dtype=torch.float64)
    weight = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
    convolve = {1: functional.conv1d, 2: functional.conv2d}[len(size)]
    out = convolve(x, weight, None, stride, padding)
    grad = torch.randn_like(out)
    out.backward(grad)
    found = weight_gradient(x, grad, kernel, stride, padding)
    torch.testing.assert_close(found, weight.grad)
    if len(size) == 2:
        assert found.is_contiguous(memory_format=torch.channels_last)


def wide(n_in=64, n_out=64, rows=32, kernel=3, stride=1):
    conv = Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    return conv, torch.randn(2, n_in, rows, 64, requires_grad=True)


def way(conv, x):
    """Return by which way the layer's output, and the gradients, are computed."""
    return type(conv(x).grad_fn).__name__


WINOGRAD, PRODUCT, LIBRARY = "_WinogradBackward", "_ConvolutionBackward", "ConvolutionBackward0"


@pytest.fixture
def avx2(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.mark.parametrize("capability", ["AVX512", "DEFAULT"])
def test_other_cpus_leave_all_to_the_library(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert way(*wide()) == way(*wide(stride=2)) == LIBRARY


def test_wide_images_are_filtered_or_multiplied(avx2):
    assert way(*wide()) == WINOGRAD
    assert way(*wide(stride=2)) == PRODUCT
    assert way(*wide(kernel=5)) == PRODUCT
    assert way(*wide(n_in=48, n_out=96)) == PRODUCT  # too few channels for the one
    assert way(*wide(rows=3)) == PRODUCT  # too few tiles
    assert way(*wide(rows=9)) == PRODUCT  # a quarter of the tiles would be empty


def test_the_rest_is_left_to_the_library(avx2):
    assert way(*wide(n_out=48)) == LIBRARY  # narrow
    conv, x = wide()
    assert way(conv.eval(), x) == LIBRARY
    with torch.autocast("cpu", torch.bfloat16):
        assert way(conv.train(), x) == LIBRARY


@pytest.mark.parametrize("stride", [1, 2])
def test_all_ways_train_alike(avx2, stride):
    conv, x = wide(stride=stride)
    plain = nn.Conv2d(64, 64, 3, stride, padding=1, bias=False)
    plain.load_state_dict(conv.state_dict())
    gradients = []
    for layer in (conv, plain):
        out = layer(x)
        gradients.append(torch.autograd.grad(out.square().mean(), (x, layer.weight)))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
