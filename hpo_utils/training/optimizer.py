"""The optimizer: PyTorch's Adam by its function, which does not import PyTorch's compiler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS, EPS = (0.9, 0.999), 1e-8  # of Kingma and Ba, "Adam", ICLR 2015, and of ``torch.optim.Adam``


class Adam:
    """What ``torch.optim.Adam`` does, to the bit.

    The first ``torch.optim.Optimizer`` of a process imports PyTorch's compiler, which takes 2 to
    3 s and 130 MB. The function below, which ``torch.optim.Adam`` calls too, does not.

    Parameters
    ----------
    weights
        What is trained.
    learning_rate
        Of the next step; the attribute of the same name may be set before any step.
    weight_decay
        Factor of the weights that is added to their gradient.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        self.learning_rate, self._weight_decay = learning_rate, weight_decay
        self._weights: list[Tensor] = list(weights)
        self._mean = [torch.zeros_like(each) for each in self._weights]
        self._square = [torch.zeros_like(each) for each in self._weights]
        device = self._weights[0].device
        self._fused = device.type in ("cpu", "cuda")
        n_steps = torch.zeros(len(self._weights), device=device if self._fused else "cpu")
        self._n_steps = list(n_steps.unbind())

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for each in self._weights:
            each.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step down the gradient."""
        gradients = [cast(Tensor, each.grad) for each in self._weights]  # every layer takes part
        adam(
            self._weights, gradients, self._mean, self._square, [], self._n_steps,
            fused=self._fused, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1],
            lr=self.learning_rate, weight_decay=self._weight_decay, eps=EPS, maximize=False,
        )  # fmt: skip

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return mean and square of the gradients and the number of steps, for each weight."""
        return {"means": self._mean, "squares": self._square, "steps": self._n_steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over what ``state_dict`` returned."""
        for name, current in self.state_dict().items():
            for mine, saved in zip(current, state[name], strict=True):
                mine.copy_(saved)
