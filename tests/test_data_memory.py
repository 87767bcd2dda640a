"""Preparing never holds more than the piece it works on, measured on a file of 384 MB."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

MEASURE = """
import resource, sys
from hpo_utils.base.config import load_config
from hpo_utils.data.preparation import prepare_data

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

cfg = load_config("params/default.yaml", sys.argv[1:])
before = peak()
prepare_data(cfg)
print(peak() - before)
"""


SHAPE = (48, 4, 500, 1000)  # 8 MB a sample, 384 MB in all


def samples():
    rng = np.random.default_rng(0)
    return (rng.random(SHAPE[1:], dtype=np.float32) for _ in range(SHAPE[0]))


def write_npy(path):
    x = np.lib.format.open_memmap(path, "w+", np.float32, SHAPE)
    for i, sample in enumerate(samples()):
        x[i] = sample
    x.flush()


def write_matlab(path):
    with h5py.File(path, "w") as content:
        x = content.create_dataset("x", SHAPE[::-1], "f4", chunks=(500, 500, 1, 4))
        x.attrs["MATLAB_class"] = np.bytes_("single")
        for i, sample in enumerate(samples()):
            x[..., i] = sample.T


@pytest.mark.parametrize(("name", "write"), [("x.npy", write_npy), ("x.mat", write_matlab)])
def test_peak_memory_does_not_grow_with_the_file(tmp_path, name, write):
    write(tmp_path / name)
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(48, 2)))
    settings = {"dataset.x_train": name, "dataset.t_train": "t.npy"}
    overrides = [f"{key}={tmp_path / name}" for key, name in settings.items()]
    overrides.append(f"paths.outputs_root={tmp_path / 'runs'}")
    command = [sys.executable, "-c", MEASURE, *overrides]
    extra = int(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )
    assert extra < 200e6  # a piece of 64 MB, its check, one sample in float64; not 384 MB
