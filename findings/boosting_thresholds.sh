#!/usr/bin/env bash
# A HistGradientBoostingRegressor of scikit-learn splits at values of its training samples, not between
# them, wherever a bin's edge is a percentile that falls on a sample. In the same precision nothing is
# lost; a copy that computes the feature otherwise, as an ONNX file in float32 does, sends these very
# samples the other way, and a comparison on training samples fails. Move each threshold half-way to
# the next value before the trees are written elsewhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingRegressor

x = np.random.default_rng(0).normal(size=(257, 1))  # 256 steps: every percentile is a sample
y = np.sin(3 * x[:, 0])


def on_a_sample(max_bins):
    """Return the share of thresholds that equal a training value."""
    model = HistGradientBoostingRegressor(max_bins=max_bins, early_stopping=False).fit(x, y)
    nodes = np.concatenate([tree.nodes for (tree,) in model._predictors])
    return float(np.isin(nodes["num_threshold"][nodes["is_leaf"] == 0], x).mean())


found = {max_bins: on_a_sample(max_bins) for max_bins in (32, 255)}
print("scikit-learn", sklearn.__version__, "share of thresholds on a training value:", found)
sys.exit(not found[32] > 0.9)
PYTHON
