"""Preparing never holds more than the piece it works on, measured on a file of 384 MB."""

import subprocess
import sys

import numpy as np

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


def test_peak_memory_does_not_grow_with_the_file(tmp_path):
    shape = (48, 4, 500, 1000)  # 8 MB a sample, 384 MB in all
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    for sample in x:
        sample[:] = rng.random(shape[1:], dtype=np.float32)
    x.flush()
    np.save(tmp_path / "t.npy", rng.normal(size=(48, 2)))
    settings = {"dataset.x_train": "x.npy", "dataset.t_train": "t.npy"}
    overrides = [f"{key}={tmp_path / name}" for key, name in settings.items()]
    overrides.append(f"paths.outputs_root={tmp_path / 'runs'}")
    command = [sys.executable, "-c", MEASURE, *overrides]
    extra = int(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )
    assert extra < 200e6  # a piece of 64 MB, its check, one sample in float64; not 384 MB
