"""The learning rate schedule of a training, which also decides when the training ends."""

from __future__ import annotations

import math
from typing import Any

from hpo_utils.base.config import Config
from hpo_utils.training.optimizer import Adam

WARMUP = 0.1  # share of the epochs over which the learning rate rises, one epoch at most
COOLDOWN = 0.4  # share of the epochs, at the end, over which it falls to zero
MIN_GAIN = 1e-3  # relative improvement of the score that counts as progress
STATE = ("_steps", "_cooldown_start", "_mark", "_mark_epoch", "last_epoch")  # mutable attributes


class Schedule:
    """Warm-up, constant rate and cool-down; the cool-down starts early if the score stagnates.

    A constant rate with a cool-down performs as well as a cosine schedule, but its end need not be
    known from the start (Hägele et al., NeurIPS 2024, "Scaling Laws and Compute-Optimal Training
    Beyond Fixed Training Durations"). The scores of two trainings of different length can be
    compared until one of them cools down.
    When the score has not fallen for ``training.patience`` epochs, the cool-down begins and lasts
    for as many epochs. With ``training.schedule: constant`` the rate never changes, and the
    training ends at once.

    Parameters
    ----------
    cfg
        The configuration, of which the section ``training`` is read.
    optimizer
        The optimizer, whose learning rate is set before each step.
    steps_per_epoch
        Number of batches per epoch.
    """

    def __init__(self, cfg: Config, optimizer: Adam, steps_per_epoch: int) -> None:
        # plain values: reading the configuration takes longer than computing the rate
        training = cfg.training
        self._optimizer, self._peak = optimizer, training.learning_rate
        self._constant, self._patience = training.schedule == "constant", training.patience
        self._steps_per_epoch, self._steps = steps_per_epoch, 0
        self._warmup = min(WARMUP * training.epochs, 1.0)  # epochs
        self._cooldown_start = (1 - COOLDOWN) * training.epochs  # epochs done
        self._mark, self._mark_epoch = math.inf, 0
        self.last_epoch = training.epochs

    def before_step(self) -> None:
        """Set the learning rate of the next step."""
        if not self._constant:
            share = self.rate(self._steps / self._steps_per_epoch)
            self._optimizer.learning_rate = self._peak * share
        self._steps += 1

    def rate(self, epochs_done: float) -> float:
        """Return the learning rate as a fraction of ``training.learning_rate``."""
        rising = (epochs_done + 1 / self._steps_per_epoch) / self._warmup
        falling = (self.last_epoch - epochs_done) / (self.last_epoch - self._cooldown_start)
        return min(rising, 1.0, falling)

    def after_epoch(self, epoch: int, score: float) -> None:
        """Record an epoch's score (lower is better); cool down or end if the score stagnates."""
        if score < self._mark * (1 - MIN_GAIN):
            self._mark, self._mark_epoch = score, epoch
        patience = self._patience
        if patience is None or epoch - self._mark_epoch < patience:
            return
        if self._constant:
            self.last_epoch = epoch
        elif epoch + patience < self.last_epoch and epoch < self._cooldown_start:
            self._cooldown_start, self.last_epoch = epoch, epoch + patience

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes that change during a training."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the attributes that ``state_dict`` returned."""
        for name in STATE:
            setattr(self, name, state[name])
