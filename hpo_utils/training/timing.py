"""Measure where a training's time goes and how much of the machine it uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from hpo_utils.network.models import predict

PHASES = ("data", "train", "validate", "search", "files")
PEAK_SIZE = 1024  # rows and columns of the matrices whose product measures the peak
PEAK_SIZE_OF_GPUS = 4096  # smaller products measure launch latency instead of throughput
PEAK_REPEATS = 5


@dataclass
class Effort:
    """The cost of one training: the seconds of each phase, and its arithmetic operations.

    ``data``: moving arrays and network to the device. ``train``, ``validate``: passes over the two
    parts. ``search``: suggesting, reporting, deciding whether to prune. ``files``: writing all
    files. ``flops_per_epoch`` is the number of operations of one pass over the training part;
    ``peak`` is the result of ``matrix_peak``.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    flops_per_epoch: int = 0
    peak: float = 0.0
    epochs: int = 0

    @contextmanager
    def spend(self, phase: str) -> Iterator[None]:
        """Add the time that the block takes to ``phase``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - started

    @property
    def utilisation(self) -> float | None:
        """Fraction of the peak that the training steps reached; None before the first epoch."""
        if not (self.epochs and self.peak):
            return None
        return self.epochs * self.flops_per_epoch / self.seconds["train"] / self.peak

    def summary(self) -> dict[str, float | None]:
        """Return the seconds of each phase and the utilisation, for files."""
        share = self.utilisation
        seconds = {phase: round(spent, 3) for phase, spent in self.seconds.items()}
        return {**seconds, "utilisation": None if share is None else round(share, 3)}


def training_flops(model: nn.Module, x_sample: Tensor) -> int:
    """Return the floating-point operations of convolutions and linear layers per training sample.

    The forward pass has one multiply-add (two operations) for each weight at each output position.
    The backward pass has as many for the weight gradients and as many for the gradients of the
    layer's input, which the first layer does not need.

    Parameters
    ----------
    model
        The network, which is called once, without gradients.
    x_sample
        At least one sample, of shape (n_samples, n_channels, ...).
    """
    counts: list[int] = []

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        counts.append(2 * out.numel() * layer.weight[0].numel())  # type: ignore[index]

    layers = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    predict(model, x_sample[:1], 1)
    for hook in hooks:
        hook.remove()
    return 3 * sum(counts) - counts[0]


@lru_cache
def matrix_peak(device: torch.device, dtype: torch.dtype, n_threads: int) -> float:
    """Return the operations per second of a large matrix product, the peak of the device.

    The peak is measured once per process; ``n_threads`` is only part of the cache key.
    """
    size = PEAK_SIZE if device.type == "cpu" else PEAK_SIZE_OF_GPUS
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(PEAK_REPEATS):
        started = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return float(2 * size**3 / best)
