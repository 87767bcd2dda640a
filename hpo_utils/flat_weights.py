"""All weights of a model in one tensor, so that what concerns all of them is one operation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn

WIDE_VALUES = 2**16  # from which on an operation for one layer's weights costs nothing


class FlatWeights:
    """The weights and statistics of a model, laid side by side in one tensor.

    A moving average and an optimizer's step then take one operation, not one for each layer, which
    on small networks is a tenth of the step. The gradients lie side by side, too, and the backward
    pass adds to them; only those of wide layers stay where it computes them, since to zero and to
    add to so many values takes longer than an operation more. Adam does the same to each weight.

    Parameters
    ----------
    model
        Its weights, the gradients of its narrow layers and its statistics become views, so it must
        not be moved to another device or layout afterwards.

    Attributes
    ----------
    values
        Weights and statistics of batch normalisation, of shape (n_values,).
    trained
        The weights among them, of shape (n_parameters,).
    """

    def __init__(self, model: nn.Module) -> None:
        weights = list(model.parameters())
        statistics = [each for each in model.buffers() if each.is_floating_point()]
        self.values = _lay_out([*weights, *statistics])
        self.trained = self.values[: sum(each.numel() for each in weights)]
        # in the model's order: wide weights one by one, the narrow ones between them together
        self._runs: list[list[nn.Parameter]] = []
        for wide, neighbours in groupby(weights, _is_wide):
            run = list(neighbours)
            self._runs += [[each] for each in run] if wide else [run]
        self._gradients = [None if _is_wide(run[0]) else _share_gradient(run) for run in self._runs]

    def split(self, values: Tensor) -> list[Tensor]:
        """Return ``trained``, or a tensor like it, in parts that have one gradient each."""
        sizes = [sum(each.numel() for each in run) for run in self._runs]
        return list(torch.split(values, sizes))

    def gradients(self) -> list[Tensor]:
        """Return the gradients of these parts, each of shape (n_values,)."""
        return [
            _in_memory_order(run[0]) if shared is None else shared
            for run, shared in zip(self._runs, self._gradients, strict=True)
        ]

    def zero_gradients(self) -> None:
        """Zero the gradients that are added to, and forget the others."""
        for run, shared in zip(self._runs, self._gradients, strict=True):
            if shared is None:
                run[0].grad = None
            else:
                shared.zero_()


def _is_wide(weight: Tensor) -> bool:
    return weight.numel() >= WIDE_VALUES


def _share_gradient(weights: Sequence[nn.Parameter]) -> Tensor:
    """Return one tensor of zeros, and make the gradients of the weights its parts."""
    flat = weights[0].new_zeros(sum(each.numel() for each in weights))
    for weight, part in zip(weights, _parts(flat, weights), strict=True):
        weight.grad = part
    return flat


def _in_memory_order(weight: nn.Parameter) -> Tensor:
    """Return the gradient that the backward pass left, which lies in memory as its weight does."""
    assert weight.grad is not None  # every layer takes part
    return weight.grad.as_strided([weight.numel()], [1])


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
