"""Predict with a bundle's ONNX file: a sixth of the time of PyTorch, whose import takes seconds."""

from __future__ import annotations

import shutil
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
from hpo_utils.data.scaling import MEAN, Standardizer, thinned

ONNX_FILE = "model.onnx"
AT_ONCE = 64  # samples: what a layer makes of more leaves the processor's cache


def has_onnx(directory: Path, device: str) -> bool:
    """Return whether the ONNX file serves: on a processor, where it exists."""
    on_cpu = device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None)
    return on_cpu and (directory / ONNX_FILE).is_file()


def predict_by_onnx(
    directory: Path, x: NDArray[Any] | Path, x_key: str | None = None, accept_outliers: bool = False
) -> Prediction | None:
    """Predict as ``bundle.predict`` does; None if the bundle's files cannot be read.

    The file takes float32 inputs. That it predicts as the networks do was checked when it was
    written (``agreement``).

    Raises
    ------
    DataError
        If the inputs have the wrong shape or type, are not finite, or seem to contain codes for
        missing values.
    """
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
    except Exception:  # a damaged file raises anything: loading the bundle says what is wrong
        return None
    meant = layout.channel_names if accept_outliers else meant
    found = []
    for piece in raw_pieces(x, x_key, layout, meant):
        for start in range(0, len(piece), AT_ONCE):
            some = piece[start : start + AT_ONCE]
            y, spread = session.run(["y", "spread"], {"x": some.astype(np.float32)})
            found.append((y, spread, _is_new(some, layout) | is_far(y, layout)))
    y, spread, is_new = (np.concatenate(each) for each in zip(*found, strict=True))
    return prediction_of(y, spread, is_new, layout)


def _is_new(raw: NDArray[Any], layout: Layout) -> NDArray[np.bool_]:
    """Return which raw samples lie outside the range of the training part."""
    used = raw[:, None] if len(layout.raw_shape) == 1 else raw[:, layout.channels]
    scaler = Standardizer(np.array(layout.input_mean), np.array(layout.input_std))
    z = scaler.transform(used).astype(np.float32)
    return layout.known.leaves_out(thinned(z, layout.downsample_factor, layout.thinning == MEAN))
