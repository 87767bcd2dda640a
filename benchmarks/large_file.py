"""Prepare an array of the real size, (108, 4, 1400, 2500) float32, and print the peak memory.

    python benchmarks/large_file.py DIRECTORY [--study] [--matlab]

The directory needs 10 GB. With ``--study`` three trials of two epochs at downsample factor 4 and
hidden 32 follow, in this process. With ``--matlab`` the arrays are those of one file as MATLAB 7.3
writes it, not compressed, where the values of a sample lie apart.
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


def make_matlab_file(directory: Path) -> None:
    """Write noise and targets as MATLAB 7.3 does, with the axes turned round."""
    import h5py

    rng, path = np.random.default_rng(0), directory / "rig.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        x = file.create_dataset("x", SHAPE[::-1], "f4")
        slab = rng.random(SHAPE[-2::-1], dtype=np.float32)
        for column in range(SHAPE[-1]):
            x[column] = slab * (1 + column % 7)
        t = file.create_dataset("t", data=rng.normal(size=(6, SHAPE[0])))
        for stored, kind in ((x, b"single"), (t, b"double")):
            stored.attrs["MATLAB_class"] = np.bytes_(kind)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--matlab", action="store_true")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    names = {key: str(options.directory / f"{key}.npy") for key in ("x_train", "t_train")}
    if options.matlab:
        file = str(options.directory / "rig.mat")
        names = {"x_train": file, "t_train": file, "x_key": "x", "t_key": "t"}
    if not Path(names["x_train"]).is_file():
        (make_matlab_file if options.matlab else make_arrays)(options.directory)
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
    keep("large_file_matlab" if options.matlab else "large_file", runs)


if __name__ == "__main__":
    main()
