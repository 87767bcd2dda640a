"""All weights of a model in one tensor, so that what concerns all of them is one operation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn


class FlatWeights:
    """The weights and statistics of a model, laid side by side in one tensor.

    An optimizer's step and a moving average then take one operation, not one for each layer, which
    on small networks is a tenth of the step. Adam does the same to each weight either way.

    Parameters
    ----------
    model
        Its weights, their gradients and its statistics become views into the tensors below, so it
        must not be moved to another device or layout afterwards.

    Attributes
    ----------
    values
        Weights and statistics of batch normalisation, of shape (n_values,).
    trained, gradient
        The weights among them and their gradient, of shape (n_parameters,): what an optimizer
        needs. The gradient is zeroed in place, never set to None.
    """

    def __init__(self, model: nn.Module) -> None:
        weights = list(model.parameters())
        statistics = [each for each in model.buffers() if each.is_floating_point()]
        self.values = _lay_out([*weights, *statistics])
        self.trained = self.values[: sum(each.numel() for each in weights)]
        self.gradient = torch.zeros_like(self.trained)
        for weight, part in zip(weights, _parts(self.gradient, weights), strict=True):
            weight.grad = part


@torch.no_grad()
def _lay_out(tensors: Sequence[Tensor]) -> Tensor:
    """Return a tensor that holds the values of all, and make them its parts."""
    flat = tensors[0].new_empty(sum(each.numel() for each in tensors))
    for each, part in zip(tensors, _parts(flat, tensors), strict=True):
        each.data = part.copy_(each)
    return flat


def _parts(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return parts of ``flat``, one after the other, with the shapes and layouts of ``like``."""
    starts = accumulate((each.numel() for each in like), initial=0)
    return [
        flat.as_strided(each.shape, each.stride(), start)
        for each, start in zip(like, starts, strict=False)
    ]
