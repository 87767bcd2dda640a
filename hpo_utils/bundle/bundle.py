"""The bundle: an exported model in a directory that predicts from raw arrays without the study.

weights.safetensors   weights of all networks, each name prefixed with ``<member>.``; how they see
                      the inputs (``sight.``); the arrays of baselines (``baseline.<name>.``);
                      and the domain of the inputs (``domain.inputs.``)
config.yaml           complete configuration of the first member
bundle.json           layout of the inputs, scalers, names, units, physics, uncertainty
metrics.json          results on the held-out parts
environment.json      versions, machine and code revision that made the bundle
model.onnx            the same model for other programs, including standardisation
predict.py            predicts with it where only numpy and onnxruntime are installed
MODEL_CARD.md         purpose, accuracy and limitations of the model
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hpo_utils.base.config import Config, as_dict, read_saved_config
from hpo_utils.base.errors import BundleError
from hpo_utils.base.paths import read_mapping, write_json, write_yaml
from hpo_utils.baselines.components import SIGHT, Sight
from hpo_utils.baselines.domain import Domain
from hpo_utils.baselines.fitted import BaselineModels
from hpo_utils.bundle.layout import (
    VERSION,
    Layout,
    Prediction,
    is_far,
    prediction_of,
    raw_pieces,
    read_layout,
)
from hpo_utils.bundle.raw_model import RawModel
from hpo_utils.data.physics import MIN_MEAN, Physics, active_physics
from hpo_utils.network.devices import select_device
from hpo_utils.network.models import create_network, evaluation_batch
from hpo_utils.network.models import predict as predict_z
from hpo_utils.scores.skill import NETWORK

OLD_MIN_MEAN = 1e-4  # smallest mean of a fraction in networks of version 4
WEIGHTS, DOMAIN = "weights.safetensors", "domain.inputs"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its layout, configuration and model."""

    directory: Path
    layout: Layout
    cfg: Config
    model: RawModel


def write_bundle(
    directory: Path,
    cfg: Config,
    layout: Layout,
    states: Sequence[dict[str, Tensor]],
    sight: Sight | None,
    baselines: BaselineModels | None,
    domain: Domain | None,
    metrics: Mapping[str, Any],
    environment: dict[str, Any],
) -> Bundle:
    """Write all files except the ONNX file and the model card; return the bundle as read back.

    ``states`` are the state dicts of the networks, which share ``sight``; ``layout.shares`` tells
    which models belong to the bundle.
    """
    kept = states if layout.has_network else []
    named: dict[str, Mapping[str, Tensor]] = {str(i): state for i, state in enumerate(kept)}
    if sight is not None and kept:
        named |= {f"sight.{part}": arrays for part, arrays in sight.arrays().items()}
    if baselines is not None and (others := [n for n in layout.shares if n != NETWORK]):
        named |= {f"baseline.{n}": arrays for n, arrays in baselines.state(others).items()}
    if domain is not None:
        named[DOMAIN] = domain.arrays()
    tensors = {
        f"{group}.{name}": value.contiguous()
        for group, arrays in named.items()
        for name, value in arrays.items()
    }
    # not save_file: only its owner could read the file
    (directory / WEIGHTS).write_bytes(save(tensors))
    write_yaml(directory / "config.yaml", as_dict(cfg))
    digest = _sha256(directory)
    content = {
        "version": VERSION, "n_members": len(kept), "sha256": digest, **asdict(layout),
    }  # fmt: skip
    write_json(directory / "bundle.json", content)
    write_json(directory / "metrics.json", metrics)
    write_json(directory / "environment.json", environment)
    return load_bundle(directory)


def replace_arrays(directory: Path, arrays: Mapping[str, Tensor]) -> str:
    """Write other values into the weights of a bundle; return the digest for ``bundle.json``."""
    new = {name: values.contiguous() for name, values in arrays.items()}
    (directory / WEIGHTS).write_bytes(save({**load_file(directory / WEIGHTS), **new}))
    return _sha256(directory)


def load_bundle(directory: str | Path) -> Bundle:
    """Read a bundle without executing any code from it.

    Raises
    ------
    BundleError
        If the directory is not a bundle, or one of its files is damaged.
    """
    path = Path(directory).expanduser()
    for name in ("bundle.json", "config.yaml", WEIGHTS):
        if not (path / name).is_file():
            raise BundleError(
                f"a bundle must be a directory with bundle.json, config.yaml and {WEIGHTS}, got"
                f" {directory!s} without {name}: name the directory that 03_optimize wrote"
            )
    try:
        layout, written = read_layout(path)
        version, n_members = written["version"], written["n_members"]
        if written.get("sha256", digest := _sha256(path)) != digest:
            raise ValueError(f"{WEIGHTS} is not the file that was written with it")
        cfg = read_saved_config(path)
        tensors = load_file(path / WEIGHTS)
        floor = OLD_MIN_MEAN if version == 4 else MIN_MEAN
        known = _physics(layout)
        parts = _by_group(tensors)
        members = [
            _member(cfg, layout, parts, str(i), replace(known, min_mean=floor))
            for i in range(n_members)
        ]
        inputs = parts.get(DOMAIN)
        domain = None if inputs is None else Domain(inputs)
        model = RawModel(layout, members, _active(cfg, layout), _baselines(parts), domain)
    except BundleError:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = " ".join(str(error).split())
        raise BundleError(f"a bundle must be readable, got {directory!s}: {reason}") from None
    return Bundle(path, layout, cfg, model.eval())


def _by_group(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors by the group that their names begin with, and by the rest of the name."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, values in tensors.items():
        n_parts = 1 if name.split(".")[0].isdigit() else 2
        *group, rest = name.split(".", n_parts)
        groups.setdefault(".".join(group), {})[rest] = values
    return groups


def _baselines(parts: Mapping[str, dict[str, Tensor]]) -> BaselineModels | None:
    """Return the baselines of a bundle, if it has any."""
    prefix = "baseline."
    state = {n.removeprefix(prefix): each for n, each in parts.items() if n.startswith(prefix)}
    return BaselineModels(state) if state else None


def _active(cfg: Config, layout: Layout) -> Physics:
    """Return the physics that the model keeps to: a baseline keeps to it in any case."""
    known = _physics(layout)
    return active_physics(cfg, known) if set(layout.shares) <= {NETWORK} else known


def _sha256(directory: Path) -> str:
    return hashlib.sha256((directory / WEIGHTS).read_bytes()).hexdigest()


def is_current(directory: Path) -> bool:
    """Return whether a readable bundle of the current version exists in the directory."""
    try:
        load_bundle(directory)
    except BundleError:
        return False
    files = (read_mapping(directory / f"{name}.json") for name in ("bundle", "environment"))
    found, made_with = (content or {} for content in files)
    return found["version"] == VERSION and "packages" in made_with


def predict(
    bundle: str | Path | Bundle,
    x: NDArray[Any] | str | Path,
    device: str = "auto",
    x_key: str | None = None,
    accept_outliers: bool = False,
) -> Prediction:
    """Predict from raw arrays with the layout that the model was trained on.

    Parameters
    ----------
    bundle
        Directory of a bundle, or a bundle returned by ``load_bundle``.
    x
        Raw inputs of shape (n_samples, *raw_shape) with all recorded channels, including those that
        the model does not use; or a file with them, as ``formats.opening`` reads it.
    device
        Device to predict on, whichever device trained: ``auto``, ``cpu``, ``cuda``, ….
    x_key
        Name of the array in a file of several; None if it holds only one.
    accept_outliers
        Whether values far outside the training range, such as -9999, are measurements.

    Raises
    ------
    BundleError
        If the bundle cannot be read.
    DataError
        If the inputs have the wrong shape or type, are not finite, or seem to contain codes for
        missing values.
    """
    known = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    place = select_device(device)
    known.model.models.to(place)
    if accept_outliers:
        meant = known.layout.channel_names
    else:
        meant = list(known.cfg.dataset.accept_outliers or [])
    pieces = [
        _predict_piece(known, piece, place) for piece in raw_pieces(x, x_key, known.layout, meant)
    ]
    return prediction_of(
        known.layout, *(np.concatenate(each) for each in zip(*pieces, strict=True))
    )


def predict_standardised(
    bundle: Bundle, z: Tensor, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return mean and spread in units, (n_samples, n_targets) each, of standardised inputs.

    ``z`` has shape (n_samples, n_channels, ...); ``device`` is that of the models, if None the
    processor.
    """
    place = device or torch.device("cpu")
    models = bundle.model.models
    found = predict_z(models, z.to(place), evaluation_batch(bundle.cfg, z), device=place)
    return bundle.model.combine(found.cpu())


def _predict_piece(
    bundle: Bundle, piece: NDArray[Any], device: torch.device
) -> tuple[NDArray[Any], ...]:
    """Return what ``prediction_of`` takes, for raw (n_samples, *raw_shape)."""
    model, layout = bundle.model, bundle.layout
    z = model.standardize(torch.from_numpy(piece))
    domain = [] if model.domain is None else [model.domain(z).numpy().astype(np.float32)]
    is_new = layout.known.leaves_out(model.models.thinned(z).numpy())
    mean, spread = predict_standardised(bundle, z, device)
    y = mean.numpy()
    return y, spread.numpy(), is_new | is_far(y, layout), *domain


def _member(
    cfg: Config,
    layout: Layout,
    parts: Mapping[str, dict[str, Tensor]],
    group: str,
    physics: Physics,
) -> nn.Module:
    """Return an ensemble member with its weights, which lie in ``group`` of ``parts``."""
    rows, *others = layout.raw_shape[len(layout.raw_shape) > 1 :]
    n_rows = math.ceil(rows / layout.downsample_factor)
    sample = torch.zeros(1, len(layout.channels), n_rows, *others)
    seen = {name: parts[f"sight.{name}"] for name in SIGHT if f"sight.{name}" in parts}
    network = create_network(
        cfg, sample, layout.target_scaler, physics, sight=Sight.of_arrays(seen) if seen else None
    )
    network.load_state_dict(parts[group])
    return network.eval()


def _physics(layout: Layout) -> Physics:
    return Physics(tuple(layout.fractions), tuple(layout.non_negative))
