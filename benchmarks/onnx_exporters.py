"""PyTorch's two ONNX exporters on the model of a bundle: time to write, size, time to predict.

    pip install onnxscript        # the newer exporter needs it
    python benchmarks/onnx_exporters.py runs/winners/demo/bundle

The two take turns; times are medians. The results go to benchmarks/results/onnx_exporters.json.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from record import keep

from hpo_utils.bundle.bundle import load_bundle

N_SAMPLES, N_RUNS, N_EXPORTS = 64, 30, 5


def export_newer(model: torch.nn.Module, sample: torch.Tensor, file: Path) -> None:
    torch.onnx.export(
        model, (sample,), file, dynamo=True, external_data=False, verbose=False,
        input_names=["x"], output_names=["y", "spread"],
        dynamic_shapes={"x": {0: torch.export.Dim("n_samples", min=1)}},
    )  # fmt: skip


def export_older(model: torch.nn.Module, sample: torch.Tensor, file: Path) -> None:
    torch.onnx.export(
        model, (sample,), file, dynamo=False, input_names=["x"], output_names=["y", "spread"],
        dynamic_axes={name: {0: "n_samples"} for name in ("x", "y", "spread")},
    )  # fmt: skip


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(directory: Path) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    bundle = load_bundle(directory)
    model = bundle.model.cpu().eval()
    sample = torch.zeros(2, *bundle.layout.raw_shape)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_SAMPLES, *bundle.layout.raw_shape)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x))[0].numpy()
    exporters = {"newer": export_newer, "older": export_older}
    writing: dict[str, list[float]] = {name: [] for name in exporters}
    predicting: dict[str, list[float]] = {name: [] for name in exporters}
    runs = []
    with TemporaryDirectory() as temporary:
        files = {name: Path(temporary) / f"{name}.onnx" for name in exporters}
        for _ in range(N_EXPORTS):
            for name, export in exporters.items():
                writing[name].append(seconds(partial(export, model, sample, files[name])))
        sessions = {name: onnxruntime.InferenceSession(str(file)) for name, file in files.items()}
        for _ in range(N_RUNS):
            for name, session in sessions.items():
                predicting[name].append(seconds(partial(session.run, ["y"], {"x": x})))
        for name, session in sessions.items():
            off = np.abs(session.run(["y"], {"x": x})[0] - expected).max(axis=0)
            first, *again = writing[name]
            low, middle, high = 1000 * np.quantile(predicting[name], [0.25, 0.5, 0.75])
            size = files[name].stat().st_size
            print(
                f"{name}: written in {first:.2f} s, then in {statistics.median(again):.2f} s;"
                f" {size / 1e6:.2f} MB; {N_SAMPLES} samples in {middle:.1f} ms"
                f" ({low:.1f} to {high:.1f})"
            )
            runs.append(
                {
                    "exporter": name, "writing_s": writing[name], "bytes": size,
                    "predicting_s": predicting[name],
                    "off_in_standard_deviations": float((off / expected.std(axis=0)).max()),
                }
            )  # fmt: skip
    shape = list(bundle.layout.raw_shape)
    keep("onnx_exporters", runs, members=len(bundle.model.members), raw_shape=shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
