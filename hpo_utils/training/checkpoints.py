"""Checkpoints: everything that a training needs to resume after its process died, in one file."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo_utils.base.paths import is_whole_archive, write_tensors
from hpo_utils.training.averaging import WeightAverage
from hpo_utils.training.batches import MicroBatches
from hpo_utils.training.directory import CHECKPOINT_FILE
from hpo_utils.training.optimizer import Adam
from hpo_utils.training.schedule import Schedule
from hpo_utils.training.timing import Effort


@dataclass
class TrainingState:
    """The mutable state of a training, after a whole number of epochs.

    ``history`` and ``effort`` are shared with the trial's record.
    """

    model: nn.Module
    optimizer: Adam
    schedule: Schedule
    average: WeightAverage | None
    shuffle: torch.Generator
    history: dict[str, list[float]]
    effort: Effort
    pieces: MicroBatches = field(default_factory=MicroBatches)
    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is validated and kept: the averaged model if weights are averaged."""
        return self.model if self.average is None else self.average.model

    def begin_with(self, score: float) -> None:
        """Keep the weights of the start, whose score this is, unless an epoch does better."""
        self.best_score = score
        self.best_state = copy.deepcopy(self.model.state_dict())

    def finish_epoch(self, score: float) -> None:
        """Record the end of an epoch and its score; keep the weights if they are the best yet."""
        self.epoch += 1
        self.effort.epochs += 1
        if score < self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            self.best_state = copy.deepcopy(self.evaluated_model.state_dict())
        self.schedule.after_epoch(self.epoch, score)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, including random number generators, as tensors and plain values."""
        device = next(self.model.parameters()).device
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "shuffle": self.shuffle.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": self.history,
            "seconds": self.effort.seconds,
            "pieces": self.pieces.count,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned; add its seconds to ``effort``."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.shuffle.set_state(state["shuffle"])
        torch.set_rng_state(state["random"])
        self.history.update(state["history"])
        for phase, seconds in state["seconds"].items():
            self.effort.seconds[phase] += seconds
        self.effort.epochs = state["epoch"]
        self.pieces.count, self.epoch = state["pieces"], state["epoch"]
        self.best_epoch, self.best_score = state["best_epoch"], state["best_score"]
        device = next(self.model.parameters()).device
        if device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], device)
        self.best_state = {name: value.to(device) for name, value in state["best_state"].items()}


class Checkpoint:
    """The checkpoint file of a training, written at a minimum interval.

    Parameters
    ----------
    directory
        The trial's directory.
    every_s
        Minimum seconds between two writes.
    """

    def __init__(self, directory: Path, every_s: float) -> None:
        self.file = directory / CHECKPOINT_FILE
        self._every_s, self._saved_at = every_s, time.monotonic()

    def restore(self, state: TrainingState) -> bool:
        """Restore ``state`` from the file; return whether there is a usable file.

        A truncated or corrupted file counts as none: the training starts over and reaches the same
        result.
        """
        if not is_whole_archive(self.file):  # PyTorch itself does not verify the checksums
            return False
        try:
            # weights_only: the file cannot run code
            content = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file may raise anything
            return False
        expected = state.state_dict()
        if not isinstance(content, dict) or content.keys() != expected.keys():
            return False
        if content["optimizer"].keys() != expected["optimizer"].keys():  # of version 0.1
            return False
        state.load_state_dict(content)
        return True

    def save(self, state: TrainingState) -> None:
        """Write the state atomically."""
        write_tensors(self.file, state.state_dict())
        self._saved_at = time.monotonic()

    def save_if_due(self, state: TrainingState) -> None:
        """Write the state if the last write was at least ``every_s`` seconds ago."""
        if time.monotonic() - self._saved_at >= self._every_s:
            self.save(state)
