#!/usr/bin/env bash
# segyio.tools.from_array2D stores IBM floats by default, which round most float32 values, and it writes
# the rounded values into the caller's own array as well. So comparing the file with the array that was
# written shows no difference, while a copy made before does. It matters where files are checked against
# the arrays they were made from, and where the array is used after it was saved: give it a copy, and
# format=5 (IEEE) where nothing should be rounded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q segyio==1.9.14 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import segyio

traces = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
before = traces.copy()
segyio.tools.from_array2D("a.sgy", traces, dt=2000)
with segyio.open("a.sgy", strict=False) as file:
    read, kind = file.trace.raw[:], str(file.format)
n_rounded = int((read != before).sum())
n_changed = int((traces != before).sum())
print("segyio", version("segyio"), "default format:", kind)
print("values of the file that differ from what was given:", n_rounded, "of", before.size)
print("values that differ from the caller's array afterwards:", int((read != traces).sum()))
print("values of the caller's array that were changed:", n_changed)
ieee = before.copy()
segyio.tools.from_array2D("b.sgy", ieee, dt=2000, format=5)
with segyio.open("b.sgy", strict=False) as file:
    exact = bool((file.trace.raw[:] == before).all())
print("with format=5 all values are kept:", exact)
sys.exit(not (n_rounded > 0 and n_changed == n_rounded and (read == traces).all() and exact))
PYTHON
