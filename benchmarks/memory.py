"""What a study takes of the memory: over its arrays, and as its trials add up.

    python benchmarks/memory.py arrays      # peak over the arrays that are trained on
    python benchmarks/memory.py trials      # after 200 trials against after 20
    python benchmarks/memory.py gpu         # what a study leaves on the GPU

``arrays`` runs the same study on few and on many samples of one size, each in a process of its own;
what the larger one takes more, over the bytes that it has more, is free of what network and
libraries take. ``trials`` lets one process run 20 trials, then 180 more.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import torch
from record import keep, peak

from hpo_utils.base.config import Config, load_config
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.search import run_study

# the smaller study, too, has validation samples for a full piece of an evaluation
SMALL, LARGE, SAMPLE = 600, 2400, (2, 256, 512)
FACTOR = 2  # of the downsampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*MEASURED, "study"])
    parser.add_argument("directory", nargs="?", type=Path, help="of 'study', one measurement")
    options = parser.parse_args()
    if options.what == "study":
        run_study(settings(options.directory))
        print(peak())
        return
    with tempfile.TemporaryDirectory() as scratch:
        MEASURED[options.what](Path(scratch))


def settings(directory: Path) -> Config:
    arrays = {f"dataset.{key}": str(directory / f"{key}.npy") for key in ("x_train", "t_train")}
    overrides = [
        f"dataset.downsample_factor={FACTOR}", "training.epochs=1", "study.n_trials=2",
        "study.n_workers=1", f"paths.outputs_root={directory / 'runs'}",
    ]  # fmt: skip
    return load_config("params/smoke.yaml", overrides, **arrays)


def of_arrays(scratch: Path) -> None:
    peaks, sizes, runs = [], [], []
    for n_samples in (SMALL, LARGE):
        directory = scratch / str(n_samples)
        directory.mkdir()
        rng = np.random.default_rng(0)
        shape = (n_samples, *SAMPLE)
        x = np.lib.format.open_memmap(directory / "x_train.npy", "w+", np.float32, shape)
        for sample in x:
            sample[:] = rng.random(SAMPLE, dtype=np.float32)
        del x
        np.save(directory / "t_train.npy", rng.normal(size=(n_samples, 2)).astype(np.float32))
        cfg = settings(directory)
        data = prepare_data(cfg)
        parts = ("train", "val", "test")
        sizes.append(sum(data.inputs(part, FACTOR).nbytes for part in parts))
        command = [sys.executable, __file__, "study", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
        print(
            f"{n_samples} samples: arrays {sizes[-1] / 1e6:.0f} MB, peak {peaks[-1] / 1e6:.0f} MB"
        )
        runs.append({"samples": n_samples, "arrays_bytes": sizes[-1], "peak_bytes": peaks[-1]})
    ratio = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    print(f"peak over the arrays: {ratio:.2f}, beside what network and libraries take")
    keep("memory_arrays", runs, ratio=ratio)


def of_trials(scratch: Path) -> None:
    found = []
    for n_trials in (20, 200):
        run_study(
            load_config(
                "params/smoke.yaml",
                ["training.epochs=1", f"study.n_trials={n_trials}"],
                **{"paths.outputs_root": str(scratch / "runs")},
            )
        )
        gc.collect()
        found.append(psutil.Process().memory_info().rss)
        print(f"after {n_trials} trials: {found[-1] / 1e6:.0f} MB")
    print(f"after 200 over after 20: {found[1] / found[0]:.3f}")
    runs = [{"trials": n, "rss_bytes": rss} for n, rss in zip((20, 200), found, strict=True)]
    keep("memory_trials", runs)


def of_gpu(scratch: Path) -> None:
    if not torch.cuda.is_available():
        print("no GPU, nothing to measure")
        return
    cfg = load_config(
        "params/smoke.yaml", ["study.n_trials=5"], **{"paths.outputs_root": str(scratch / "runs")}
    )
    run_study(cfg)
    gc.collect()
    found = {
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "left_bytes": torch.cuda.memory_allocated(), "reserved_bytes": torch.cuda.memory_reserved(),
    }  # fmt: skip
    print(", ".join(f"{name.split('_')[0]} {n / 1e6:.1f} MB" for name, n in found.items()))
    keep("memory_gpu", [found])


MEASURED = {"arrays": of_arrays, "trials": of_trials, "gpu": of_gpu}

if __name__ == "__main__":
    main()
