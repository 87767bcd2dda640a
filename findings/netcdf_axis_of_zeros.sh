#!/usr/bin/env bash
# A NetCDF 4 file is an HDF5 file, and h5py reads it. But an axis that has no coordinates, only a length, is
# stored as a dataset of float32 with the name of the axis: h5py lists it beside the measurements and reads
# zeros from it. netCDF4 and xarray do not show it. An axis called "sample" then looks like the ids of
# all samples, each zero. What tells it from an array is a sentence in its attribute NAME.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q netCDF4==1.7.4 h5py==3.16.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import h5py
import numpy as np
from netCDF4 import Dataset

print("netCDF4", version("netCDF4"), "h5py", version("h5py"))
with Dataset("a.nc", "w") as file:
    file.createDimension("sample", 3)
    file.createVariable("protein", "f4", ("sample",))[:] = [9.1, 9.4, 8.7]
with Dataset("a.nc") as file:
    shown = list(file.variables)
with h5py.File("a.nc") as file:
    listed = {name: item[:].tolist() for name, item in file.items()}
    print("its NAME:", file["sample"].attrs["NAME"])
print("netCDF4 shows", shown, "h5py lists", listed)
sys.exit(not (shown == ["protein"] and listed["sample"] == [0.0, 0.0, 0.0]))
PYTHON
