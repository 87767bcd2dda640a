#!/usr/bin/env bash
# asammdf's MDF.get leaves samples out whose invalidation bit is set, so that one channel of a group
# comes back shorter than its neighbours; to_dataframe puts interpolated values in their place. Neither
# says so or gives NaN. It matters wherever channels are stacked into an array: get with
# ignore_invalidation_bits=True, and set the samples that signal.invalidation_bits marks to NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q asammdf==8.8.28 numpy==2.4.6 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import asammdf
import numpy as np

times, invalid = np.arange(4) / 10, np.array([False, True, False, False])
values = np.array([0.0, 99.0, 4.0, 6.0])
with asammdf.MDF() as file:
    pressure = asammdf.Signal(values, times, name="p", invalidation_bits=invalid)
    file.append([pressure, asammdf.Signal(np.arange(4.0), times, name="q")])
    file.save("a.mf4")
with asammdf.MDF("a.mf4") as file:
    got = file.get("p").samples.tolist(), file.get("q").samples.tolist()
    framed = file.to_dataframe()["p"].tolist()
    whole = file.get("p", ignore_invalidation_bits=True)
print("asammdf", asammdf.__version__)
print("get:", got)
print("to_dataframe:", framed)
print("get with ignore_invalidation_bits:", whole.samples.tolist(), whole.invalidation_bits)
sys.exit((got[0], len(got[1]), framed) != ([0.0, 4.0, 6.0], 4, [0.0, 2.0, 4.0, 6.0]))
PYTHON
