"""Devices: selection, precision, number of threads, random seeds, and use of several GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError

THREAD_VALUES = 2**21  # values of a step's output (layer with stride 1) that justify one thread
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def select_device(name: str) -> torch.device:
    """Return the device that ``training.device`` names; ``auto`` prefers a GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"training.device must be auto, cpu or a device of this machine, got {name!r}: {reason}"
        ) from None
    if device.type == "cuda":  # true float32: cuDNN's TF32 drops 13 of the 23 mantissa bits
        torch.backends.cudnn.allow_tf32 = False
    return device


def several_gpus(device: torch.device) -> bool:
    """Return whether batches are split over all GPUs; they are not if the device has an index."""
    return device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1


def computing_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which convolutions and matrix products use ``precision``."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


class InPrecision(nn.Module):
    """A network that computes in a given precision, whichever thread calls it."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, *inputs: Tensor) -> Any:
        """Return the network's outputs for a batch of inputs, each of shape (B, ...)."""
        with computing_in(self.precision, inputs[0].device):
            return self.network(*inputs)


class SharedOut(nn.DataParallel[nn.Module]):
    """A network whose batches are split over all GPUs.

    If a GPU would get a single sample, the whole batch stays on the first GPU, since batch
    normalisation needs more than one. PyTorch's threads for the GPUs inherit that autocast is on,
    but not its precision (``torch.nn.parallel.parallel_apply``), so the network sets its own.
    """

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__(InPrecision(network, precision))

    def forward(self, *inputs: Tensor) -> Any:
        """Return the network's outputs for a batch of inputs, each of shape (B, ...)."""
        n = len(inputs[0])
        share = math.ceil(n / max(1, len(self.device_ids)))  # as Tensor.chunk splits the batch
        if share == 1 or n % share == 1:
            return self.module(*inputs)
        return super().forward(*inputs)


def seed_everything(seed: int) -> None:
    """Seed PyTorch and NumPy, and make cuDNN choose its algorithms deterministically."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global state, for code that still draws from it
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def select_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a training's convolutions for ``training.precision``.

    ``auto`` is bfloat16 where the device supports it in hardware, about twice as fast, otherwise
    float32. A CPU without hardware support emulates bfloat16 many times slower.
    """
    if name != "auto":
        return PRECISIONS[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
    return torch.bfloat16 if fast else torch.float32


@dataclass(frozen=True)
class Compute:
    """What a training computes with: device, dtype of its convolutions, number of threads."""

    device: torch.device
    precision: torch.dtype
    n_threads: int

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that reproduce these choices on any machine.

        Sums over another number of threads, or products in another precision, round differently.
        """
        return {
            "training.precision": str(self.precision).removeprefix("torch."),
            "training.n_threads": self.n_threads,
        }


def choose_compute(cfg: Config, sample_shape: tuple[int, ...]) -> Compute:
    """Choose the device, precision and threads that a training's configuration leaves open.

    Parameters
    ----------
    cfg
        Only its sections ``model`` and ``training`` are used.
    sample_shape
        Shape (n_channels, L) or (n_channels, H, W) of one input.

    Raises
    ------
    ConfigError
        If this machine does not have the device.
    """
    device = select_device(cfg.training.device)
    precision = select_precision(cfg.training.precision, device)
    return Compute(device, precision, cfg.training.n_threads or useful_threads(cfg, sample_shape))


def useful_threads(cfg: Config, sample_shape: tuple[int, ...]) -> int:
    """Return how many threads a training step can use well, at most those of PyTorch.

    With two threads a small step takes as long as with one, or longer, and several times as long if
    another process needs the second core. The parameters are those of ``choose_compute``.
    """
    values = cfg.training.batch_size * cfg.model.hidden * math.prod(sample_shape[1:])
    return max(1, min(values // THREAD_VALUES, torch.get_num_threads()))


@contextmanager
def using_threads(n_threads: int) -> Iterator[None]:
    """Set the number of threads of PyTorch and of NumPy's linear algebra in the block.

    With two threads in each of two processes on two cores, the threads of linear algebra wait for
    each other many times as long as they compute.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
