#!/usr/bin/env bash
# pyedflib's highlevel.write_edf_quick fills the last record of an EDF file, one second by default, with
# zeros, and the reader returns them as measured values: 10.5 s of a signal at 100 Hz come back as 11 s,
# of which the last half second lies at zero. It matters where recordings are cut into windows or their
# statistics are taken: cut each signal to its known length after reading.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyedflib==0.1.42 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from pyedflib import highlevel

signal = np.full(1050, 1.5)
signal[:2] = -1.0, 2.0  # the range that the file keeps
highlevel.write_edf_quick("a.edf", [signal], sfreq=100)
read = highlevel.read_edf("a.edf")[0][0]
added = read[len(signal):]
print("pyedflib", version("pyedflib"))
print("samples written:", len(signal), "read:", len(read))
print("last value written:", signal[-1], "last values read:", added[-3:].round(3).tolist())
sys.exit(not (len(read) == 1100 and np.abs(added).max() < 0.001))
PYTHON
