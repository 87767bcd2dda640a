"""The optimizer: Adam on all weights of a model at once, without PyTorch's compiler."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam

from hpo_utils.flat_weights import FlatWeights

BETAS, EPS = (0.9, 0.999), 1e-8  # of Kingma and Ba, "Adam", ICLR 2015, and of ``torch.optim.Adam``


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
