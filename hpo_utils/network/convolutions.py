"""Convolutions of signals and images that avoid two faults of oneDNN on CPUs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

REGISTER_CHANNELS = 16  # float32 values in the widest register of a CPU (AVX-512)


class Conv1d(nn.Conv1d):
    """A convolution with an odd kernel, padded by half of it, whose gradients are right on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, L) to (B, n_out, ceil(L / stride))."""
        x, stride = _strided(self, x)
        return functional.conv1d(x, self.weight, self.bias, stride, [int(n) for n in self.padding])


class Conv2d(nn.Conv2d):
    """A convolution with odd kernels, padded by half of them, whose gradients are right on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, H, W) to (B, n_out, ceil(H / stride), ceil(W / stride))."""
        x, stride = _strided(self, x)
        return functional.conv2d(x, self.weight, self.bias, stride, [int(n) for n in self.padding])


def _strided(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> tuple[Tensor, list[int]]:
    """Return an input and the strides that give what ``conv`` gives on ``x``.

    Around two faults of oneDNN (PyTorch 2.13 on CPUs) in the gradient of the weights of a strided
    convolution. With kernels of one, channels last and fewer channels than a register holds it
    writes beyond its memory; here such kernels stride by leaving out. On axes of length one and in
    bfloat16 it leaves values unwritten, NaN if that was in the memory; here no stride is taken
    along these, which makes no difference.
    """
    axes_of_one = 1 in x.shape[2:]
    if max(conv.kernel_size) == 1 and (axes_of_one or conv.in_channels < REGISTER_CHANNELS):
        for axis, step in enumerate(conv.stride, start=2):
            x = x[(slice(None),) * axis + (slice(None, None, step),)]
        return x, [1] * (x.ndim - 2)
    return x, [1 if n == 1 else step for n, step in zip(x.shape[2:], conv.stride, strict=True)]
