"""Export to an ONNX file for programs without PyTorch: raw inputs in, targets in units out."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import torch

from hpo_utils.base.errors import BundleError
from hpo_utils.base.paths import write_with
from hpo_utils.bundle.raw_model import Layout, RawModel


def write_onnx(path: Path, model: RawModel, layout: Layout) -> None:
    """Write ``model``, including its standardisation, as an ONNX file.

    The input ``x`` is float32 of shape (n_samples, *raw_shape); the outputs ``y`` and ``spread``
    are float32 of shape (n_samples, n_targets). The file's metadata contain the names, the units
    and the calibration that turns the spread into intervals (``spread.Calibration``).
    """
    model = model.cpu().eval()
    sample = torch.zeros(2, *layout.raw_shape)
    batch = torch.export.Dim("n_samples", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about the exporter's own code
        program = torch.onnx.export(
            model, (sample,), dynamo=True, verbose=False,
            input_names=["x"], output_names=["y", "spread"], dynamic_shapes={"x": {0: batch}},
            optimize=False,  # the runtime optimises when it loads the file
        )  # fmt: skip
    if program is None:  # allowed by PyTorch's type, but not for this call
        raise BundleError(f"the ONNX file must be written to {path}, but the exporter gave nothing")
    proto = program.model_proto
    described = asdict(layout)
    for key in ("target_names", "target_units", "channel_names", "calibration"):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(described[key], ensure_ascii=False)
    write_with(path, lambda file: onnx.save(proto, file))
