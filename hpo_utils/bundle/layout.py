"""What a bundle tells without its weights: layout and scaling, checked inputs, predictions.

Nothing here needs PyTorch, which takes seconds to import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.bundle.novelty import KnownRange
from hpo_utils.data.checks import real_array, representable
from hpo_utils.data.outliers import is_missing, refuse_far_from, without_codes
from hpo_utils.data.prepared import PreparedData, input_scaler
from hpo_utils.data.scaling import MEAN, Standardizer
from hpo_utils.formats.axes import Axis
from hpo_utils.formats.opening import open_array
from hpo_utils.formats.sources import CHUNK_BYTES
from hpo_utils.importing.later import Trained, read_inputs
from hpo_utils.scores.calibration import Calibration, reach_of
from hpo_utils.scores.metrics import NETWORK

VERSION, READABLE = 7, (4, 5, 6, 7)
DISTANCES = ("T²", "Q", "neighbour")  # of inputs from the training part's; the last may be missing
FAR = 5.0  # SDs from the mean; at most 4 % of any training part lie beyond (Chebyshev's inequality)


@dataclass(frozen=True)
class Layout:
    """Layout and scaling of a model's inputs and outputs.

    ``raw_shape`` is the shape of one sample as recorded, all channels included; the input scalers
    cover only the channels in use.
    """

    raw_shape: list[int]
    channels: list[int]
    channel_names: list[str]
    downsample_factor: int
    input_mean: list[float]
    input_std: list[float]
    target_names: list[str]
    target_units: list[str]
    target_mean: list[float]
    target_std: list[float]
    fractions: list[int]
    non_negative: list[int]
    known: KnownRange
    confidence: float
    calibration: Calibration | None  # of the members' spread; None before version 6 with one
    # of each model in each target, (n_targets,) each; without any, all is the network's
    shares: Mapping[str, list[float]] = field(default_factory=dict)
    thinning: str = "pick"  # ``dataset.thinning``, before version 6 always this
    missing_values: list[float | None] = field(default_factory=list)  # None: NaN
    # what ``adaptation`` found: slopes and offsets, (n_targets,) each; nothing: the model as it is
    correction: list[list[float]] = field(default_factory=list)
    logarithmic: list[int] = field(default_factory=list)  # targets that are scaled as logarithms
    # of H and W, or of L: their names, and the first and last place of each, if they are known
    axis_names: list[str] = field(default_factory=list)
    axis_ranges: list[list[float]] | None = None

    def inputs(
        self, path: Path, key: str | None, id_column: str | None = None
    ) -> tuple[NDArray[Any] | Path, list[str] | None]:
        """Return inputs measured later and their ids, if the file is like those of the training."""
        axis = None
        if self.axis_ranges is not None and len(self.axis_names) == 1:
            first, last = self.axis_ranges[0]
            axis = Axis(self.axis_names[0], first, last)
        return read_inputs(path, key, self.raw_shape, id_column, Trained(self.channel_names, axis))

    @property
    def target_scaler(self) -> Standardizer:
        """Scaler of the targets."""
        mean, std = np.array(self.target_mean), np.array(self.target_std)
        return Standardizer(mean, std, tuple(self.logarithmic))

    @property
    def has_network(self) -> bool:
        """Whether networks are among the models."""
        return not self.shares or NETWORK in self.shares

    @property
    def codes(self) -> list[float]:
        """``dataset.missing_values``: codes in inputs for what was not measured."""
        return [float("nan") if code is None else code for code in self.missing_values]


@dataclass(frozen=True)
class Prediction:
    """Predictions of shape (n_samples, n_targets), in the targets' units.

    ``is_new`` (n_samples,) marks samples whose inputs or predictions lie outside the training
    range. ``spread`` is the standard deviation over the members; ``half_width`` is the half width
    of the interval that contained the true value for ``confidence`` of the validation part. Both
    are None with a single member. ``joint_half_width`` is wider, so that all targets of a sample
    lie within it with that ``confidence``; None in bundles of version 0.3 and earlier.
    ``domain`` (n_samples, 3) are Hotelling's T² and Q of the inputs and their squared distance to
    the nearest neighbour, over their limits; beyond one, the intervals are wider by the root of the
    largest. Some bundles know no neighbour, and those before version 7 none of the three.
    """

    y: NDArray[np.float32]
    is_new: NDArray[np.bool_]
    spread: NDArray[np.float32] | None
    half_width: NDArray[np.float32] | None
    confidence: float
    joint_half_width: NDArray[np.floating[Any]] | None = None
    domain: NDArray[np.floating[Any]] | None = None

    @property
    def is_outside(self) -> NDArray[np.bool_]:
        """Whether each sample's inputs lie outside the domain, (n_samples,)."""
        if self.domain is None:
            return np.zeros(len(self.y), dtype=bool)
        return np.asarray((self.domain > 1.0).any(axis=1))


def read_layout(directory: Path) -> tuple[Layout, dict[str, Any]]:
    """Return the layout in ``bundle.json``, and what else stands there: version, members, digest.

    Raises
    ------
    BundleError
        If the bundle has a version that cannot be read.
    """
    content = json.loads((directory / "bundle.json").read_text(encoding="utf-8"))
    others = {key: content.pop(key) for key in ("version", "n_members", "sha256") if key in content}
    if others["version"] not in READABLE:
        raise BundleError(
            f"a bundle must have version {VERSION} to be read, got {others['version']} in"
            f" {directory}: use the version of hpo_utils named in its environment.json"
        )
    content["known"] = KnownRange(**content["known"])
    if content["calibration"] is not None:
        content["calibration"] = Calibration(**content["calibration"])
    return Layout(**content), others


def describe_layout(
    data: PreparedData,
    cfg: Config,
    confidence: float,
    intervals: dict[str, Any] | None,
    shares: Mapping[str, list[float]] | None = None,
) -> Layout:
    """Return the layout of a model trained on ``data`` with configuration ``cfg``."""
    manifest, scaler = data.manifest, input_scaler(data.manifest)
    return Layout(
        raw_shape=manifest["sources"][0]["shape"][1:],
        channels=manifest["channels"],
        channel_names=manifest["channel_names"],
        downsample_factor=cfg.dataset.downsample_factor,
        input_mean=scaler.mean.tolist(),
        input_std=scaler.std.tolist(),
        target_names=data.target_names,
        target_units=data.target_units,
        target_mean=data.target_scaler.mean.tolist(),
        target_std=data.target_scaler.std.tolist(),
        fractions=list(data.physics.fractions),
        non_negative=list(data.physics.non_negative),
        known=KnownRange.of(
            data.inputs(
                "train", cfg.dataset.downsample_factor, averaged=cfg.dataset.thinning == MEAN
            )
        ),
        confidence=confidence,
        calibration=None if intervals is None else Calibration(**intervals),
        shares=dict(shares or {}),
        thinning=cfg.dataset.thinning,
        missing_values=[
            None if math.isnan(code) else code for code in cfg.dataset.missing_values or []
        ],
        logarithmic=list(data.target_scaler.logarithmic),
        axis_names=manifest["axis_names"],
        axis_ranges=manifest.get("axis_ranges"),
    )


def is_far(y: NDArray[np.float32], layout: Layout) -> NDArray[np.bool_]:
    """Return which predictions (n_samples, n_targets) lie far outside the training range."""
    z = layout.target_scaler.transform(y)
    return np.asarray((np.abs(z) > FAR).any(axis=1))


def prediction_of(
    layout: Layout,
    y: NDArray[np.float32],
    spread: NDArray[np.float32],
    is_new: NDArray[np.bool_],
    domain: NDArray[np.float32] | None = None,
) -> Prediction:
    """Return predictions with their intervals, as far as the model has them.

    They are wider outside of the domain, see ``calibration.reach_of``.
    """
    if layout.calibration is None:
        return Prediction(y, is_new, None, None, layout.confidence, domain=domain)
    reach = np.ones(len(y)) if domain is None else reach_of(domain)
    half_width = reach[:, None] * layout.calibration.half_width(spread, y)
    joint = layout.calibration.joint_half_width(spread, y)
    if joint is not None:
        joint = (reach[:, None] * joint).astype(np.float32)
    return Prediction(
        y, is_new, spread, half_width.astype(np.float32), layout.confidence, joint, domain
    )


def raw_pieces(
    x: NDArray[Any] | str | Path, x_key: str | None, layout: Layout, meant: Sequence[str]
) -> Iterator[NDArray[Any]]:
    """Check raw inputs and yield them in chunks that PyTorch can take.

    ``meant`` names the channels whose outliers are measurements.
    """
    if isinstance(x, str | Path):
        source = open_array(Path(x).expanduser(), x_key, "x")
        _check_shape(source.shape, layout)
        pieces = source.chunks()
    else:
        x = real_array(x, "x")
        _check_shape(x.shape, layout)
        step = max(1, CHUNK_BYTES // max(1, x[0].nbytes))
        pieces = ((start, x[start : start + step]) for start in range(0, len(x), step))
    used = slice(None) if len(layout.raw_shape) == 1 else layout.channels
    for start, piece in pieces:
        dtype = np.float32 if piece.dtype.itemsize <= 4 and piece.dtype.kind == "f" else np.float64
        values = piece[:, used].reshape(len(piece), -1)
        fine = representable(values) | is_missing(values, layout.codes)
        if not fine.all():
            raise DataError(
                "x must be finite, within float32, in the channels in use, but sample"
                f" {start + int(fine.all(axis=1).argmin())} is not: correct or remove it"
            )
        with_channels = piece[:, None] if len(layout.raw_shape) == 1 else piece[:, used]
        names = [layout.channel_names[i] for i in layout.channels]
        scale = (layout.input_mean, layout.input_std)
        numbers = range(start, start + len(with_channels))
        known = without_codes(with_channels, layout.codes)
        refuse_far_from(scale, known, numbers, names, meant, "channel")
        yield np.array(piece, dtype=dtype, order="C")  # a writable copy


def _check_shape(shape: tuple[int, ...], layout: Layout) -> None:
    wanted = tuple(layout.raw_shape)
    if shape[1:] == wanted and shape[0] > 0:
        return
    if not shape or shape[0] == 0:
        raise DataError(f"x must hold samples, got an array of shape {shape}")
    said = f"x must have shape (n_samples, {', '.join(map(str, wanted))})"
    if len(wanted) > 1:
        names = ", ".join(layout.channel_names)
        said += f" with all {wanted[0]} recorded channels ({names})"
    hint = ": add the axis of the samples with x[None]" if shape == wanted else ""
    if shape[1:] == (*wanted[1:], *wanted[:1]):
        hint = ": the channels come last, turn them with np.moveaxis(x, -1, 1)"
    raise DataError(f"{said}, got {shape}{hint}")
