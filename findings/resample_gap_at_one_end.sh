#!/usr/bin/env bash
# scipy.signal.resample_poly continues a recording beyond its ends by the line through its first and last
# value (padtype="line"), so that an offset does not pull the ends down. If a single value at the end is
# missing, that line is NaN: besides the values that the filter reaches from the gap, as many at the other
# end of the recording become NaN. With the default, padtype="constant", only the gap's side is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q scipy==1.17.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import scipy
from scipy.signal import resample_poly

print("scipy", scipy.__version__, "numpy", np.__version__)
values = 5 + np.sin(np.arange(2000) / 50)
values[-1] = np.nan
lost = {}
for padtype in ("constant", "line"):
    gaps = np.flatnonzero(np.isnan(resample_poly(values, 1, 2, padtype=padtype)))
    lost[padtype] = (int((gaps < 500).sum()), int((gaps >= 500).sum()))
    print(padtype, "lost at the beginning and at the end:", lost[padtype], "of 1000")
sys.exit(not (lost["line"][0] > 0 and lost["line"][1] > 0 and lost["constant"][0] == 0))
PYTHON
