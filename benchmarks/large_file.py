"""Prepare an array of the real size, (108, 4, 1400, 2500) float32, and print the peak memory.

    python benchmarks/large_file.py DIRECTORY [--study]

The directory needs 10 GB. With ``--study`` three trials of two epochs at downsample factor 4 and
hidden 32 follow, in this process.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from record import keep

from hpo_utils.base.config import load_config
from hpo_utils.data.preparation import prepare_data

SHAPE = (108, 4, 1400, 2500)


def peak() -> float:
    """Return the largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_arrays(directory: Path) -> None:
    """Write noise of the real size, a sample at a time."""
    rng = np.random.default_rng(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": SHAPE}
    with (directory / "x_train.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(SHAPE[0]):
            file.write(rng.random(SHAPE[1:], dtype=np.float32).tobytes())
    np.save(directory / "t_train.npy", rng.normal(size=(SHAPE[0], 6)).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--study", action="store_true")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    if not (options.directory / "x_train.npy").is_file():
        make_arrays(options.directory)
    names = {key: str(options.directory / f"{key}.npy") for key in ("x_train", "t_train")}
    cfg = load_config(
        "params/airlift.yaml",
        [
            "dataset.downsample_factor=4",
            "model.hidden=32",
            "training.epochs=2",
            "study.n_trials=3",
            "study.n_workers=1",
        ],
        **{f"dataset.{key}": path for key, path in names.items()},
        **{"paths.outputs_root": str(options.directory / "runs")},
    )
    before, start = peak(), time.perf_counter()
    data = prepare_data(cfg)
    seconds = time.perf_counter() - start
    above = peak() - before
    runs = [{"what": "prepare", "seconds": seconds, "mb_above_start": above, "mb_at_start": before}]
    print(f"prepare: {seconds:.0f} s, {above:.0f} MB above the {before:.0f} MB before")
    start = time.perf_counter()
    prepare_data(cfg)
    runs.append({"what": "prepare again", "seconds": time.perf_counter() - start})
    print(f"prepare again: {runs[-1]['seconds']:.3f} s ({data.dataset_id})")
    if options.study:
        from hpo_utils.study.search import run_study

        start = time.perf_counter()
        run_study(cfg)
        seconds = time.perf_counter() - start
        runs.append({"what": "three trials of two epochs", "seconds": seconds, "peak_mb": peak()})
        print(f"study of 3 trials of 2 epochs: {seconds:.0f} s, peak {peak():.0f} MB")
    keep("large_file", runs)


if __name__ == "__main__":
    main()
