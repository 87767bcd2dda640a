"""The parts of the split as tensors, and the batches of an epoch.

Data are small beside what their training needs, so a part lies on the training's device as a whole
and batches are picked out of it by index: no DataLoader, no copies from the host. A part that would
fill the device stays where it is, and only its batches travel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import BLOCK_VALUES, MEAN
from hpo_utils.network.augmentation import Augmentation
from hpo_utils.network.memory import free_memory
from hpo_utils.network.models import memory_format
from hpo_utils.network.seen import MOST_IN_MEMORY, Seen, SeenOnDisk, write_seen
from hpo_utils.network.with_views import WithViews

PIECE = 2**24  # bytes that are copied at a time
RESIDENT_SHARE = 0.5  # of the free memory that a part may take
SEEN = "seen-2{mark}-{part}-{factor}{how}.npz"  # change the number if a sight sees something else


@dataclass
class PartTensors:
    """One part of the split as tensors.

    ``x`` has shape (n_samples, n_channels, L) or (n_samples, n_channels, H, W), is standardised,
    and lies on the device or, if it is too large for that, on the host. ``z`` has shape
    (n_samples, n_targets), is standardised, and lies on the device. ``seen`` of shape
    (n_samples, n_seen) is what the sight of ``WithViews`` returns for ``x``, once and not in every
    epoch. ``file`` is where it is kept for trainings to come; None if it is not. ``weights``
    (n_samples,) say how much each sample counts; None if all count alike.
    """

    x: Tensor
    z: Tensor
    seen: Seen | None = None
    file: Path | None = None
    weights: Tensor | None = None

    def batch(
        self, index: Tensor, augmentation: Augmentation | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the network's inputs and the targets of samples, on the device.

        ``seen`` is mixed as the inputs are, but not changed otherwise.
        """
        inputs, z = self._rows(index)
        if augmentation is None:
            return inputs, z
        if augmentation.mixup:
            others, z_others = self._rows(augmentation.partners(z, self.z))
            mixed = augmentation.mixed((*inputs, z), (*others, z_others))
            inputs, z = mixed[:-1], mixed[-1]
        x, *seen = inputs
        return (augmentation.changed(x), *seen), z

    def _rows(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        x, z = self.x[index.to(self.x.device)].to(self.z.device), self.z[index]
        return (x,) if self.seen is None else (x, self.seen[index].to(self.z.device)), z

    def weighted(
        self, z_pred: Tensor, z: Tensor, index: Tensor | slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Return predictions and targets of samples times the roots of the samples' weights.

        The squared error of both is then the weighted one. A sample that is mixed with a partner
        keeps its own weight.
        """
        if self.weights is None:
            return z_pred, z
        roots = self.weights[index].sqrt()[:, None]
        return roots * z_pred, roots * z

    def look(self, model: nn.Module) -> None:
        """See the inputs as ``model`` does, if it is one ``WithViews``.

        All trainings on the same data see the same, so it is kept in ``file`` if the disk has room.
        """
        if not isinstance(model, WithViews):
            return
        shape, device = (len(self.x), model.sight.n_seen), self.z.device
        stored = None if self.file is None else SeenOnDisk.found(self.file, shape)
        if stored is None and self.file is not None:
            with suppress(OSError):
                write_seen(self.file, shape, self._looks(model))
                stored = SeenOnDisk.found(self.file, shape)
        if stored is None:
            self.seen, start = torch.empty(shape, device=device), 0
            for piece in self._looks(model):  # put together at the end they take twice the memory
                self.seen[start : start + len(piece)] = piece
                start += len(piece)
        elif device.type == "cpu" and stored.nbytes > MOST_IN_MEMORY:
            self.seen = stored
        else:
            self.seen = stored[:].to(device)

    def _looks(self, model: WithViews) -> Iterator[Tensor]:
        """Yield what the model sees of consecutive samples, few at a time."""
        step = max(1, BLOCK_VALUES // self.x[0].numel())
        with torch.no_grad():
            for some in torch.split(self.x, step):
                yield model.sight(some.to(self.z.device))


@dataclass
class MicroBatches:
    """Into how many pieces a batch is cut so that its training fits into the memory.

    The gradients of the pieces add up to those of the batch. Batch normalisation, however, takes
    its statistics from each piece alone, so a training in pieces is not quite that of the batch.
    """

    count: int = 1

    def split(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Return the pieces, of two samples at least, since one has no statistics."""
        return torch.tensor_split(batch, max(1, min(self.count, len(batch) // 2)))

    def halve(self, batch: Tensor) -> bool:
        """Have twice as many pieces; return whether that cuts such a batch any finer."""
        before = len(self.split(batch))
        self.count *= 2
        return len(self.split(batch)) > before


def load_part(data: PreparedData, part: str, cfg: Config, device: torch.device) -> PartTensors:
    """Bring one part to the device, in the layout that suits the network, or leave it on disk."""
    factor, averaged = cfg.dataset.downsample_factor, cfg.dataset.thinning == MEAN
    z = torch.from_numpy(data.target_scaler.transform(data.targets(part))).to(device)
    given = data.weights(part)
    weights = None if given is None else torch.from_numpy(given).to(device)
    shape = data.input_shape(part, factor)
    mark = data.dataset_id.removeprefix(str(data.manifest["id"]))  # of data dealt out anew
    how = "" if averaged or factor == 1 else "-picked"
    file = data.directory / SEEN.format(mark=mark, part=part, factor=factor, how=how)
    n_bytes = math.prod(shape[1:]) * np.dtype(np.float32).itemsize  # of a sample
    if len(z) * n_bytes > RESIDENT_SHARE * free_memory(device):
        x = torch.from_numpy(data.inputs(part, factor, averaged=averaged))
        return PartTensors(x, z, file=file, weights=weights)
    x = torch.empty(shape, device=device, memory_format=memory_format(len(shape) - 2))
    step = max(1, PIECE // n_bytes)
    for start in range(0, len(z), step):
        # mapped anew each time, or every page that was read would count as ours until the end
        piece = data.inputs(part, factor, slice(start, start + step), averaged)
        x[start : start + step] = torch.from_numpy(np.array(piece))
    return PartTensors(x, z, file=file, weights=weights)


def make_batches(
    n_samples: int, batch_size: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Return shuffled sample indices in batches.

    A last batch of one sample is left out, since batch normalisation has no statistics of one; the
    next shuffle brings its sample back.
    """
    order = torch.randperm(n_samples, generator=generator).to(device)
    return list(torch.split(order, batch_size))[: count_batches(n_samples, batch_size)]


def count_batches(n_samples: int, batch_size: int) -> int:
    """Return how many batches ``make_batches`` makes."""
    return max(1, n_samples // batch_size + (n_samples % batch_size > 1))
