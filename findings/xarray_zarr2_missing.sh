#!/usr/bin/env bash
# xarray packs a measurement with gaps into integers with a code for missing values, _FillValue. In HDF5 and
# Zarr 3 that is an attribute beside scale_factor and add_offset. In Zarr 2 it is the array's own fill_value,
# what is read where no chunk was written, and no attribute. A reader that opens both formats with zarr and
# unpacks by attributes turns every gap of the older one into a number like any other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import xarray as xr
import zarr

print("xarray", version("xarray"), "zarr", version("zarr"))
data = xr.Dataset({"spectra": (("sample", "place"), np.array([[5.0, np.nan], [5.2, 5.1]]))})
packed = {"spectra": {"dtype": "int16", "scale_factor": 0.001, "add_offset": 5.0, "_FillValue": -32768}}
found = {}
for number in (2, 3):
    data.to_zarr(f"{number}.zarr", zarr_format=number, encoding=packed, consolidated=False)
    array = zarr.open_array(f"{number}.zarr", path="spectra", mode="r")
    named = {name: array.attrs.get(name) for name in ("scale_factor", "add_offset", "_FillValue")}
    unpacked = array[:] * named["scale_factor"] + named["add_offset"]
    found[number] = named["_FillValue"] is not None
    print("format", number, "attributes", named, "fill_value", array.fill_value, "unpacked", unpacked.tolist())
sys.exit(found != {2: False, 3: True})
PYTHON
