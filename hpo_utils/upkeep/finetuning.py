"""Train the networks of a bundle further on new samples: their last layers, or all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo_utils.baselines.linear import folds
from hpo_utils.bundle.bundle import Bundle, predict_standardised
from hpo_utils.network.devices import useful_threads, using_threads
from hpo_utils.network.losses import PartlyMeasuredMSELoss
from hpo_utils.network.models import memory_format
from hpo_utils.network.with_views import WithViews
from hpo_utils.training.optimizer import Adam

LAST_LAYERS = {"head", "linear", "dense"}  # parts of a network behind its convolutions
MAX_FOLDS = 4
SLOWER = 0.1  # of the training's learning rate: the weights are near what is wanted


Predicted = tuple[NDArray[np.float64], NDArray[np.float64]]  # mean and spread, in units


@dataclass(frozen=True)
class Tuning:
    """How far networks are trained further."""

    last_only: bool
    n_steps: int

    def __str__(self) -> str:
        return f"{'last' if self.last_only else 'all'} layers, {self.n_steps} steps"


TUNINGS = [  # from what changes little to what changes much
    Tuning(last_only, n_steps) for last_only in (True, False) for n_steps in (20, 60)
]


def held_out(
    bundle: Bundle, z: Tensor, t: NDArray[np.float64], units: NDArray[np.int64] | None
) -> dict[Tuning, Predicted]:
    """Return predictions of each sample by networks trained further without its fold.

    Parameters
    ----------
    bundle
        A bundle with networks.
    z
        Standardised inputs (n_samples, n_channels, ...) float32.
    t
        Targets (n_samples, n_targets) in their units, NaN where nothing was measured.
    units
        The group of each sample, (n_samples,), which stays in one fold; None if there are none.
    """
    found = {each: (np.full(t.shape, np.nan), np.full(t.shape, np.nan)) for each in TUNINGS}
    for rest, held in folds(len(t), units, MAX_FOLDS):
        for last_only in (True, False):
            for tuning, tuned in _trained(bundle, z[rest], t[rest], last_only):
                for values, part in zip(
                    found[tuning], predict_standardised(tuned, z[held]), strict=True
                ):
                    values[held] = part.numpy()
    return found


def fine_tuned(bundle: Bundle, z: Tensor, t: NDArray[np.float64], tuning: Tuning) -> Bundle:
    """Return the bundle with networks trained further; see ``held_out``."""
    return next(b for each, b in _trained(bundle, z, t, tuning.last_only) if each == tuning)


def networks_of(bundle: Bundle) -> dict[str, Tensor]:
    """Return the weights of all networks, by their names in the bundle's file of weights."""
    return {
        f"{number}.{name}": values
        for number, network in enumerate(bundle.model.members)
        for name, values in network.state_dict().items()
    }


def _trained(
    bundle: Bundle, z: Tensor, t: NDArray[np.float64], last_only: bool
) -> Iterator[tuple[Tuning, Bundle]]:
    """Yield the bundle after so many steps of all its networks; the given one stays as it is."""
    tuned = replace(bundle, model=copy.deepcopy(bundle.model).cpu().eval())
    steps = [_steps(tuned, network, z, t, last_only) for network in tuned.model.members]
    n_threads, n_done = useful_threads(bundle.cfg, tuple(z.shape[1:])), 0
    for tuning in (each for each in TUNINGS if each.last_only == last_only):
        with using_threads(n_threads):
            while n_done < tuning.n_steps:
                for step in steps:
                    next(step)
                n_done += 1
        yield tuning, tuned


def _steps(
    bundle: Bundle, network: nn.Module, z: Tensor, t: NDArray[np.float64], last_only: bool
) -> Iterator[None]:
    """Train one network, a step each time that it is asked.

    Dropout is off and the statistics of normalisation stay, since few samples would move them far.
    """
    model, training = bundle.model, bundle.cfg.training
    y = (torch.from_numpy(t) - model.offset) / model.slope  # what comes before a correction
    truth = ((y - model.target_mean) / model.target_std).float()
    x = model.models.thinned(z).to(memory_format=memory_format(z.ndim - 2))
    seen = network.sight(x) if isinstance(network, WithViews) else None
    loss_of = PartlyMeasuredMSELoss([1.0] * truth.shape[1])
    weights = []
    for name, weight in network.named_parameters():
        weight.requires_grad_(not last_only or bool(LAST_LAYERS & set(name.split("."))))
        weights += [weight] if weight.requires_grad else []
    optimizer = Adam(weights, SLOWER * training.learning_rate, training.weight_decay)
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(x), generator=generator)
        for rows in torch.split(order, training.batch_size):
            optimizer.zero_grad()
            found = network(x[rows]) if seen is None else network(x[rows], seen[rows])
            loss_of(found, truth[rows]).backward()
            optimizer.step()
            yield
