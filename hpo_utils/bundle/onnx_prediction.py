"""Predict with a bundle's ONNX file: a sixth of the time of PyTorch, whose import takes seconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hpo_utils.bundle.layout import (
    Layout,
    Prediction,
    is_far,
    prediction_of,
    raw_pieces,
    read_layout,
)
from hpo_utils.data.outliers import without_codes
from hpo_utils.data.scaling import MEAN, Standardizer, thinned

ONNX_FILE = "model.onnx"
AT_ONCE = 64  # samples: what a layer makes of more leaves the processor's cache


@dataclass(frozen=True)
class OnnxBundle:
    """What of a bundle predicts by its ONNX file; ``meant`` are channels whose far values are real.

    ``session`` is an ``onnxruntime.InferenceSession``.
    """

    layout: Layout
    meant: list[str]
    session: Any


def load_onnx(directory: Path, device: str) -> OnnxBundle | None:
    """Return the part of a bundle that predicts by its ONNX file, on a processor.

    None if there is no such file, a graphics card may be meant, or a file cannot be read: loading
    the whole bundle says what is wrong. Without PyTorch there is no other way.
    """
    no_card = shutil.which("nvidia-smi") is None or find_spec("torch") is None
    on_cpu = device == "cpu" or (device == "auto" and no_card)
    if not on_cpu or not (directory / ONNX_FILE).is_file():
        return None
    import onnxruntime

    try:
        layout, _ = read_layout(directory)
        settings = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(directory / ONNX_FILE), options, providers=["CPUExecutionProvider"]
        )
        meant = list(settings["dataset"].get("accept_outliers") or [])
    except Exception:  # a damaged file raises anything
        return None
    return OnnxBundle(layout, meant, session)


def predict_by_onnx(
    bundle: OnnxBundle,
    x: NDArray[Any] | Path,
    x_key: str | None = None,
    accept_outliers: bool = False,
) -> Prediction:
    """Predict as ``bundle.predict`` does.

    That the file predicts as the networks do was checked when it was written (``agreement``).

    Raises
    ------
    DataError
        If the inputs have the wrong shape or type, are not finite, or seem to contain codes for
        missing values.
    """
    layout = bundle.layout
    meant = layout.channel_names if accept_outliers else bundle.meant
    taken = input_type(bundle.session)
    found = []
    for piece in raw_pieces(x, x_key, layout, meant):
        for start in range(0, len(piece), AT_ONCE):
            some = piece[start : start + AT_ONCE]
            y, spread, *domain = bundle.session.run(None, {"x": some.astype(taken)})
            found.append((y, spread, _is_new(some, layout) | is_far(y, layout), *domain))
    return prediction_of(layout, *(np.concatenate(each) for each in zip(*found, strict=True)))


def input_type(session: Any) -> type[np.floating[Any]]:
    """Return the number type of the inputs of a file."""
    return np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32


def _is_new(raw: NDArray[Any], layout: Layout) -> NDArray[np.bool_]:
    """Return which raw samples lie outside the range of the training part."""
    used = raw[:, None] if len(layout.raw_shape) == 1 else raw[:, layout.channels]
    scaler = Standardizer(np.array(layout.input_mean), np.array(layout.input_std))
    z = scaler.transform(without_codes(used, layout.codes))
    if layout.codes:
        z = np.nan_to_num(z, nan=0.0)
    return layout.known.leaves_out(thinned(z, layout.downsample_factor, layout.thinning == MEAN))
