"""Predict with model.onnx beside this file: python predict.py x.npy y.csv

It needs numpy and onnxruntime alone. x.npy holds raw inputs (n_samples, ...), as they were recorded
with all channels. y.csv gets the predictions in units and half the width of their intervals.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

AT_ONCE = 256  # samples


def predict(
    x: np.ndarray, model: Path = Path(__file__).parent / "model.onnx"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names with units, predictions and half widths, (n_samples, n_targets) each.

    The half widths are NaN if the model has no intervals. All are NaN of samples with a value that
    is not finite, unless NaN is a code for what was not measured.
    """
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    known = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    is_double = session.get_inputs()[0].type == "tensor(double)"
    kind = np.float64 if is_double else np.float32
    pieces = [x[i : i + AT_ONCE].astype(kind) for i in range(0, len(x), AT_ONCE)]
    found = [session.run(None, {"x": piece}) for piece in pieces]
    y, spread, *domain = (np.concatenate(each) for each in zip(*found, strict=True))
    half_width, calibration = np.full_like(y, np.nan), known["calibration"]
    if calibration is not None:
        spread = spread if calibration.get("has_spread", True) else np.zeros_like(spread)
        for k in (logarithmic := calibration.get("logarithmic", [])):
            spread[:, k] /= y[:, k]
        half_width = np.hypot(spread, calibration["residual"]) * calibration["factors"]
        for k in logarithmic:  # errors of logarithms
            half_width[:, k] = y[:, k] * np.expm1(half_width[:, k])
    for distances in domain:  # over their limits: wider outside the domain
        half_width *= np.sqrt(np.maximum(1.0, distances.max(axis=1, keepdims=True)))
    used = x[:, known["channels"]] if x.ndim > 2 else x
    finite = np.isfinite(used.reshape(len(x), -1)).all(axis=1)
    if not known["missing_values"]:
        y[~finite], half_width[~finite] = np.nan, np.nan
    pairs = zip(known["target_names"], known["target_units"], strict=True)
    return [name if unit == "-" else f"{name} [{unit}]" for name, unit in pairs], y, half_width


if __name__ == "__main__":
    names, y, half_width = predict(np.load(sys.argv[1], allow_pickle=False))
    with open(sys.argv[2], "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*names, *(f"half width of {name}" for name in names)])
        table.writerows(np.hstack([y, half_width]).tolist())
