#!/usr/bin/env bash
# pymatreader removes every axis of length one from MATLAB arrays: (1, 3, 50), one sample of three
# channels, comes back as (3, 50), while (2, 3, 50) keeps its axes, so that the shape of what is read
# depends on how many samples a file happens to hold; h5py shows that the file has all three. Logical
# arrays of a v7.3 file become uint8. It matters where files of one sample each are stacked: restore the
# axes by what they must be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pymatreader==1.3.2 hdf5storage==0.2.2 h5py==3.16.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import h5py
import hdf5storage
import numpy as np
from pymatreader import read_mat
from scipy.io import savemat

arrays = {"one": np.ones((1, 3, 50)), "two": np.ones((2, 3, 50)), "flag": np.ones((4, 5), dtype=bool)}
hdf5storage.savemat("new.mat", arrays, format="7.3")
savemat("old.mat", arrays)
with h5py.File("new.mat") as file:
    stored = {name: file[name].shape for name in ("one", "two")}
found = {kind: read_mat(f"{kind}.mat") for kind in ("old", "new")}
shapes = {kind: [read[name].shape for name in ("one", "two")] for kind, read in found.items()}
print("pymatreader", version("pymatreader"))
print("axes in the v7.3 file, in its order:", stored)
print("read from v5 and v7.3, one and two samples:", shapes)
print("logical array of the v7.3 file:", np.asarray(found["new"]["flag"]).dtype)
expected = [(3, 50), (2, 3, 50)]
same = shapes["new"] == expected and np.asarray(found["new"]["flag"]).dtype == np.uint8
sys.exit(not (stored["one"] == (50, 3, 1) and same))
PYTHON
