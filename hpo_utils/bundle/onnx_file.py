"""Export to an ONNX file for programs without PyTorch: raw inputs in, targets in units out."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch

from hpo_utils.base.paths import write_with
from hpo_utils.bundle.layout import Layout
from hpo_utils.bundle.raw_model import RawModel

OPSET = 17  # the first with a Fourier transform
LARGE_OFFSET = 100.0  # standard deviations: beyond, rounding to float32 shows
SMALL = 1e-30  # below, float32 holds fewer digits
PROGRAM = "predict.py"  # beside the ONNX file, which it needs


def write_onnx(path: Path, model: RawModel, layout: Layout, recorded: np.dtype[Any]) -> None:
    """Write ``model``, including its standardisation, as an ONNX file.

    The input ``x`` is float32 of shape (n_samples, *raw_shape), or float64 where float32 would lose
    what was ``recorded`` in a wider type, such as a signal on a large offset. The outputs ``y`` and
    ``spread`` are float32 of shape (n_samples, n_targets), and ``domain`` (n_samples, 3) are
    ``layout.DISTANCES`` over their limits. The file's metadata contain the names, the units, the
    calibration that turns the spread into intervals (``Calibration``), the channels in use and the
    codes for what was not measured.

    PyTorch's older exporter writes it, in a twentieth of the newer one's time
    (docs/decisions/onnx_exporter.md).
    """
    sample = torch.zeros(2, *layout.raw_shape, dtype=_input_type(layout, recorded))
    outputs = ["y", "spread"] + ["domain"] * (model.domain is not None)
    with TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PyTorch recommends its other exporter
        file = Path(directory) / "model.onnx"
        torch.onnx.export(
            model.cpu().eval(), (sample,), file, dynamo=False, opset_version=OPSET,
            input_names=["x"], output_names=outputs,
            dynamic_axes={name: {0: "n_samples"} for name in ("x", *outputs)},
        )  # fmt: skip
        proto = onnx.load(file)
    described = asdict(layout)
    told = ("target_names", "target_units", "channel_names", "calibration", "channels")
    for key in (*told, "missing_values"):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(described[key], ensure_ascii=False)
    write_with(path, lambda file: onnx.save(proto, file))


def _input_type(layout: Layout, recorded: np.dtype[Any]) -> torch.dtype:
    """Return the number type that holds raw inputs to a hundred thousandth of their variation."""
    mean, std = np.abs(layout.input_mean), np.array(layout.input_std)
    needed = (mean > LARGE_OFFSET * std) | (std < SMALL)
    is_wide = recorded.itemsize > np.dtype(np.float32).itemsize
    return torch.float64 if is_wide and needed.any() else torch.float32


def write_program(directory: Path) -> None:
    """Write the program that predicts with the ONNX file, without this package and PyTorch."""
    shutil.copyfile(Path(__file__).with_name("standalone.py"), directory / PROGRAM)
