"""The trainings that form a model: load them from their directories and predict with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo_utils.base.config import Config, read_saved_config
from hpo_utils.base.paths import is_whole_archive
from hpo_utils.baselines.components import sight_of
from hpo_utils.data.physics import active_physics, in_units
from hpo_utils.data.prepared import Judged, PreparedData
from hpo_utils.data.scaling import MEAN, thinned
from hpo_utils.network.devices import select_device
from hpo_utils.network.models import create_network, evaluation_batch, predict
from hpo_utils.training.batches import PartTensors, load_part
from hpo_utils.training.directory import WEIGHTS_FILE, damaged

Member = tuple[Config, dict[str, Tensor]]  # configuration and weights


def load_member(directory: Path) -> Member:
    """Return the configuration and the weights of a finished training.

    Raises
    ------
    StudyError, ConfigError
        If one of the two files is missing or damaged.
    """
    file = directory / WEIGHTS_FILE
    if not is_whole_archive(file):
        raise damaged(file)
    state = torch.load(file, weights_only=True, map_location="cpu")
    return read_saved_config(directory), state


def predict_samples(
    members: list[Member], data: PreparedData, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return each member's predictions of training samples, (n_members, n_rows, n_targets)."""
    first = members[0][0]
    whole = data.inputs("train")[rows]
    x = thinned(whole, first.dataset.downsample_factor, first.dataset.thinning == MEAN)
    part = PartTensors(torch.from_numpy(x), torch.zeros(len(x)))
    return _predict(members, data, part, torch.device("cpu"))


def predict_part(members: list[Member], data: PreparedData, part: str) -> NDArray[np.float32]:
    """Return each member's predictions of a part in units, (n_members, n_samples, n_targets)."""
    first = members[0][0]  # the members differ only in their seeds
    device = select_device(first.training.device)
    return _predict(members, data, load_part(data, part, first, device), device)


def folds_of(members: list[Member]) -> list[int]:
    """Return the number of the fold that each member left out for its validation."""
    return [cfg.data_split.val_fold or 0 for cfg, _ in members]


def predict_judged(members: list[Member], data: PreparedData) -> NDArray[np.float32]:
    """Return predictions of the validation part by members that have not seen the sample.

    They are those of each member, (n_members, n_samples, n_targets). Of ``Judged`` data every fold
    has its own members, whose mean is returned, (1, n_samples, n_targets).
    """
    if not isinstance(data, Judged):
        return predict_part(members, data, "val")
    found = np.empty((1, *data.targets("val").shape), dtype=np.float32)
    left_out = folds_of(members)
    for number, fold in data.folds.items():
        own = [member for member, n in zip(members, left_out, strict=True) if n == number]
        found[0, data.places(number)] = predict_part(own, fold, "val").mean(axis=0)
    return found


def _predict(
    members: list[Member], data: PreparedData, part: PartTensors, device: torch.device
) -> NDArray[np.float32]:
    found, x = [], part.x
    sight = sight_of(members[0][0], data)
    for cfg, state in members:
        network = create_network(cfg, x, data.target_scaler, data.physics, device, sight)
        network.load_state_dict(state)
        if part.seen is None:  # all members see the same
            part.look(network)
        z = predict(network, x, evaluation_batch(cfg, x), part.seen).cpu().numpy()
        found.append(in_units(z, data.target_scaler, active_physics(cfg, data.physics)))
    return np.stack(found)
