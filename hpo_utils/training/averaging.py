"""The moving average of a model's weights, which is what validates and is kept."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of the weights and of batch normalisation's statistics.

    The weights of single steps jump with every batch, and so do their scores; their average moves
    smoothly and predicts better (Polyak and Juditsky, SIAM J. Control Optim. 30 (1992) 838-855).
    The window grows from the first step on, so that the random start is forgotten soon.

    Parameters
    ----------
    model
        The model that is trained; the attribute of the same name is its averaged copy.
    window
        Steps that the average looks back.
    """

    def __init__(self, model: nn.Module, window: float) -> None:
        self.model = copy.deepcopy(model)
        self._window = window
        self._n_updates = 0
        # listed once: listing them at every step costs as much as the step
        self._average, self._current = (
            [each for each in one.state_dict().values() if each.is_floating_point()]
            for one in (self.model, model)
        )
        self._counters, self._current_counters = (
            [each for each in one.buffers() if not each.is_floating_point()]
            for one in (self.model, model)
        )

    def update(self) -> None:
        """Take the model's present weights into the average."""
        n = self._n_updates
        share = max(1.0 / self._window, 9.0 / (10.0 + n)) if n else 1.0
        torch._foreach_lerp_(self._average, self._current, share)
        if self._counters:
            torch._foreach_copy_(self._counters, self._current_counters)
        self._n_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and how many steps went into them."""
        return {"model": self.model.state_dict(), "n_updates": self._n_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.model.load_state_dict(state["model"])
        self._n_updates = state["n_updates"]
