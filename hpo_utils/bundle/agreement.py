"""Check, when a bundle is written, that it predicts like the networks it was made from.

The check uses training samples as they come from the source, in its scale and number format. The
ONNX file takes float64 where float32 would lose a small signal on a large offset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import BundleError, DataError
from hpo_utils.baselines.fitted import BaselineModels, predict_in_units
from hpo_utils.baselines.take_home import mixed
from hpo_utils.bundle.bundle import Bundle, predict
from hpo_utils.bundle.members import Member, predict_samples
from hpo_utils.bundle.onnx_prediction import input_type
from hpo_utils.data.prepared import PreparedData, input_scaler
from hpo_utils.data.scaling import Standardizer
from hpo_utils.formats.opening import open_array
from hpo_utils.scores.skill import NETWORK

N_SAMPLES = 16
AGREE = 1e-2  # largest accepted difference of predictions, in standard deviations of a target
# a feature at a tree's threshold may go the other way after rounding: so many values may, so far
FLIPPED, BY_A_FLIP = 0.1, 0.1  # share of the predictions, standard deviations


def check_written(
    bundle: Bundle,
    onnx_file: Path,
    members: list[Member],
    baselines: BaselineModels | None,
    data: PreparedData,
) -> str | None:
    """Compare a bundle and its ONNX file with the networks and baselines that they are made from.

    Returns
    -------
    str or None
        The reason why the ONNX file differs from the model and must not be shipped; None if it
        agrees.

    Raises
    ------
    BundleError
        If the bundle itself differs from the members.
    """
    rows = _spread_out(data.n_train)
    raw = raw_samples(data, rows)
    networks = predict_samples(members, data, rows)
    shares = bundle.layout.shares or {NETWORK: [1.0] * data.n_targets}
    others = {}
    if baselines is not None:
        others = predict_in_units(baselines, data, data.inputs("train")[rows])
    expected = mixed(shares, networks, others, data.physics).mean(axis=0)
    scaler = data.target_scaler
    found = predict(bundle, raw, device="cpu", accept_outliers=True).y
    if (off := _apart(found, expected, scaler)) > AGREE:
        raise BundleError(
            "a bundle must predict as the trainings that it is made of, but that of"
            f" {bundle.directory.parent.name} is up to {off:.2g} standard deviations off: run"
            " notebooks/03_optimize.ipynb again"
        )
    return why_not_onnx(onnx_file, raw, expected, scaler, has_trees=baselines is not None)


def why_not_onnx(
    onnx_file: Path,
    raw: NDArray[Any],
    expected: NDArray[Any],
    scaler: Standardizer,
    has_trees: bool,
) -> str | None:
    """Return why an ONNX file must not be shipped; None if it predicts what is ``expected``.

    ``raw`` are inputs (n_samples, *raw_shape), and ``scaler`` is that of the targets.
    """
    off = _apart(_by_onnx(onnx_file, raw), expected, scaler, has_trees)
    if off <= AGREE:
        return None
    return (
        f"it does not hold these inputs ({raw.dtype}) as the model does: its predictions of"
        f" known samples are up to {off:.2g} standard deviations off"
    )


def raw_samples(data: PreparedData, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the given rows of the training part as raw samples (n_rows, *raw_shape).

    They are read from the source. If it is gone or has changed, they are reconstructed from the
    prepared samples, in double precision and with zeros in the unused channels.
    """
    described = data.manifest["sources"][0]
    try:
        source = open_array(Path(described["path"]), described["key"], "dataset.x_train")
        stamp = source.stamp()
        if all(described[key] == value for key, value in stamp.items()):
            return source.rows(data.sample_numbers("train")[rows])
    except (DataError, OSError):
        pass
    z = data.inputs("train")[rows].astype(np.float64)
    scaler, axes = input_scaler(data.manifest), (1, -1) + (1,) * (z.ndim - 2)
    values = z * scaler.std.reshape(axes) + scaler.mean.reshape(axes)
    shape = described["shape"][1:]
    if len(shape) == 1:
        return values[:, 0]
    raw = np.zeros((len(rows), *shape))
    raw[:, data.manifest["channels"]] = values
    return raw


def _by_onnx(file: Path, raw: NDArray[Any]) -> NDArray[np.float32]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with np.errstate(over="ignore"):
        x = raw.astype(input_type(session))
    return np.concatenate([session.run(["y"], {"x": x[i : i + 1]})[0] for i in range(len(x))])


def _apart(
    found: NDArray[Any],
    expected: NDArray[Any],
    scaler: Standardizer,
    has_trees: bool = False,
) -> float:
    """Return the largest difference in standard deviations; infinite if any is not finite.

    Of a model that ``has_trees``, a few small differences do not count.
    """
    on_scale = [scaler.on_scale(y.astype(np.float64)) for y in (found, expected)]
    apart = np.abs(on_scale[0] - on_scale[1]) / scaler.std
    if not np.isfinite(apart).all():
        return float("inf")
    if has_trees and apart.max() <= BY_A_FLIP:
        return float(np.quantile(apart, 1 - FLIPPED))
    return float(apart.max())


def _spread_out(n_samples: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n_samples - 1, N_SAMPLES).astype(np.int64))
