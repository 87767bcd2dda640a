#!/usr/bin/env bash
# R writes a missing number as a NaN with a payload of its own (1954), and that NaN is a signalling one.
# rdata hands it on as it is. NumPy keeps it silently in float64, but warns "invalid value encountered in
# cast" when the array becomes float32, as every array does on its way into a network: a NaN of NumPy's own
# beside it does not. Where warnings are errors, a table with one empty cell stops the program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q rdata==1.1.0 numpy==2.4.6 pandas==3.1.1 xarray==2026.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import rdata

# saveRDS(c(NA, 1.5), compress = FALSE): a vector of two doubles, most significant byte first
NA = bytes.fromhex("7ff00000000007a2")
head = b"X\n" + struct.pack(">iii", 2, 4 << 16, 2 << 16 | 3 << 8)
Path("na.rds").write_bytes(head + struct.pack(">ii", 14, 2) + NA + struct.pack(">d", 1.5))
values = rdata.read_rds("na.rds")
print("rdata", version("rdata"), "numpy", np.__version__, values, values.view(np.uint64)[0].tobytes().hex())
said = {}
for name, array in {"NA of R": values, "NaN of NumPy": np.array([np.nan, 1.5])}.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array.astype(np.float64)
        quiet = not caught
        array.astype(np.float32)
    said[name] = [str(each.message) for each in caught]
    print(name, "to float64: no warning" if quiet else "to float64: a warning", "to float32:", said[name])
sys.exit(said != {"NA of R": ["invalid value encountered in cast"], "NaN of NumPy": []})
PYTHON
