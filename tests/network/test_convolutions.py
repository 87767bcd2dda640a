import os
import subprocess
import sys

import pytest

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
