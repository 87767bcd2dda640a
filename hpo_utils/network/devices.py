"""Devices: which one trains, its random state, its threads, and its memory given back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError

THREAD_VALUES = 2**21  # of a step's output of a layer without stride that a thread is worth
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
    if device.type == "cuda":  # float32 means float32: else cuDNN leaves out 13 of 23 bits
        torch.backends.cudnn.allow_tf32 = False
    return device


def several_gpus(device: torch.device) -> bool:
    """Return whether batches are to be shared out over all GPUs: not if the device has a number."""
    return device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1


def computing_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which convolutions and products of matrices use ``precision``."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


class InPrecision(nn.Module):
    """A network that computes in a precision, whichever thread calls it."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, x: Tensor) -> Any:
        """Return the network's outputs for a batch ``x`` of shape (B, ...)."""
        with computing_in(self.precision, x.device):
            return self.network(x)


class SharedOut(nn.DataParallel[nn.Module]):
    """A network whose batches are shared out over all GPUs.

    A batch of which one GPU would get a single sample stays on the first GPU: batch normalisation
    has no statistics of one. PyTorch's thread of each GPU knows that there is a precision, but not
    which (``torch.nn.parallel.parallel_apply``), so the network brings its own.
    """

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__(InPrecision(network, precision))

    def forward(self, x: Tensor) -> Any:
        """Return the network's outputs for a batch ``x`` of shape (B, ...)."""
        share = math.ceil(len(x) / max(1, len(self.device_ids)))  # as Tensor.chunk deals them out
        if share == 1 or len(x) % share == 1:
            return self.module(x)
        return super().forward(x)


def seed_everything(seed: int) -> None:
    """Fix the random state and have cuDNN choose its algorithms the same way every time."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global state, for code that still draws from it
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def select_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of the training's convolutions that ``training.precision`` names.

    ``auto`` is bfloat16 where the device multiplies it in hardware, about twice as fast, else
    float32; a CPU without it emulates it many times slower.
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
    """What a training computes with: the device, the number format of its convolutions, threads."""

    device: torch.device
    precision: torch.dtype
    n_threads: int

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that ask for the same, whatever the machine would choose.

        Sums over another number of threads, or products in another precision, round differently.
        """
        return {
            "training.precision": str(self.precision).removeprefix("torch."),
            "training.n_threads": self.n_threads,
        }


def choose_compute(cfg: Config, sample_shape: tuple[int, ...]) -> Compute:
    """Choose device, precision and threads of a training where its configuration leaves them open.

    Parameters
    ----------
    cfg
        Its sections ``model`` and ``training`` are read.
    sample_shape
        Shape (n_channels, L) or (n_channels, H, W) of an input.

    Raises
    ------
    ConfigError
        If this machine does not have the device.
    """
    device = select_device(cfg.training.device)
    precision = select_precision(cfg.training.precision, device)
    return Compute(device, precision, cfg.training.n_threads or useful_threads(cfg, sample_shape))


def useful_threads(cfg: Config, sample_shape: tuple[int, ...]) -> int:
    """Return how many threads a step of the training is worth, at most those that PyTorch has.

    Two on a small step take as long as one, or longer, and several times as long where another
    process wants the second core. Parameters as for ``choose_compute``.
    """
    values = cfg.training.batch_size * cfg.model.hidden * math.prod(sample_shape[1:])
    return max(1, min(values // THREAD_VALUES, torch.get_num_threads()))


@contextmanager
def using_threads(n_threads: int) -> Iterator[None]:
    """Have PyTorch use so many threads in the block, and as many as before behind it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
