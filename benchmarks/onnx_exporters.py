"""PyTorch's two ONNX exporters on the model of a bundle: time to write, size, time to predict.

    pip install onnxscript        # the newer exporter needs it
    python benchmarks/onnx_exporters.py runs/winners/demo/bundle

The two take turns; times are medians. The results go to benchmarks/results/onnx_exporters.json.
"""

from __future__ import annotations

import json
import logging
import platform
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

from hpo_utils.bundle.bundle import load_bundle

N_SAMPLES, N_RUNS, N_EXPORTS = 64, 30, 5
RESULTS = Path(__file__).parent / "results" / "onnx_exporters.json"


def export_newer(model: torch.nn.Module, sample: torch.Tensor, file: Path) -> None:
    torch.onnx.export(
        model, (sample,), file, dynamo=True, optimize=False, external_data=False, verbose=False,
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
    found: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as temporary:
        files = {name: Path(temporary) / f"{name}.onnx" for name in exporters}
        writing: dict[str, list[float]] = {name: [] for name in exporters}
        for _ in range(N_EXPORTS):
            for name, export in exporters.items():
                writing[name].append(seconds(partial(export, model, sample, files[name])))
        sessions = {name: onnxruntime.InferenceSession(str(file)) for name, file in files.items()}
        predicting: dict[str, list[float]] = {name: [] for name in exporters}
        for _ in range(N_RUNS):
            for name, session in sessions.items():
                predicting[name].append(seconds(partial(session.run, ["y"], {"x": x})))
        for name, session in sessions.items():
            off = np.abs(session.run(["y"], {"x": x})[0] - expected).max(axis=0)
            found[name] = {
                "first_write_s": round(writing[name][0], 2),
                "write_s": round(statistics.median(writing[name][1:]), 2),
                "bytes": files[name].stat().st_size,
                "predict_ms": round(1000 * statistics.median(predicting[name]), 2),
                "predict_ms_quartiles": [
                    round(1000 * q, 2) for q in np.quantile(predicting[name], [0.25, 0.75])
                ],
                "off_in_standard_deviations": float((off / expected.std(axis=0)).max()),
            }
    result = {
        "torch": torch.__version__, "onnxruntime": onnxruntime.__version__,
        "processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
        "members": len(model.members), "raw_shape": list(bundle.layout.raw_shape),
        "samples": N_SAMPLES, **found,
    }  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
