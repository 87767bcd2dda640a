"""The optimizer: Adam on all weights of a model at once, which lie in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS, EPS = (0.9, 0.999), 1e-8  # of Kingma and Ba, "Adam", ICLR 2015, and of ``torch.optim.Adam``

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


class FlatAdam:
    """What ``torch.optim.Adam`` does, to the bit, on weights that lie in one tensor.

    The first ``torch.optim.Optimizer`` of a process imports the compiler of PyTorch, in 2 to 3 s
    and not needed here; the function below, which ``torch.optim.Adam`` calls too, does not.

    Parameters
    ----------
    weights
        What is trained, with its gradient.
    learning_rate
        Of the next step; the attribute of the same name may be set before any step.
    weight_decay
        Factor of the weights that is added to their gradient.
    """

    def __init__(
        self, weights: FlatWeights, learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        self.learning_rate, self._weight_decay = learning_rate, weight_decay
        self._weights = weights
        self._mean = torch.zeros_like(weights.trained)
        self._square = torch.zeros_like(weights.trained)
        self._parts = [weights.split(each) for each in (weights.trained, self._mean, self._square)]
        device = weights.trained.device
        self._fused = device.type in ("cpu", "cuda")
        # Adam counts the steps of each part by itself
        self._n_steps = torch.zeros(len(self._parts[0]), device=device if self._fused else "cpu")

    def zero_grad(self) -> None:
        """Zero the gradients, or forget them, as ``FlatWeights`` does."""
        self._weights.zero_gradients()

    def step(self) -> None:
        """Take one step down the gradient."""
        values, mean, square = self._parts
        adam(
            values, self._weights.gradients(), mean, square, [], list(self._n_steps.unbind()),
            fused=self._fused, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1],
            lr=self.learning_rate, weight_decay=self._weight_decay, eps=EPS, maximize=False,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Tensor]:
        """Return the running mean and square of the gradient and the numbers of steps."""
        return {"mean": self._mean, "square": self._square, "n_steps": self._n_steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what ``state_dict`` returned."""
        for name, current in self.state_dict().items():
            current.copy_(state[name])
