"""AutoGluon's tables: one predictor a target, on flat signals or on this project's features.

    peer_autogluon.py SET.npz OUT SECONDS

The time is shared by the targets. Presets are AutoGluon's own for the time that a target has:
``good_quality``, or ``medium_quality`` below a minute, in which bags of models are not ready. Flat
signals of more than 2,000 values are left to the features alone.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor

MOST, ENOUGH_S = 2000, 60
began = time.monotonic()
arrays, out, seconds = np.load(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
kind = out.name.rpartition("-")[2]  # "flat" or "features"
key = {"flat": "x", "features": "f"}[kind]
x = {
    p: arrays[f"{key}_{p}"].reshape(len(arrays[f"{key}_{p}"]), -1) for p in ("train", "val", "test")
}
if x["train"].shape[1] > MOST and kind == "flat":
    sys.exit(f"{x['train'].shape[1]} columns: flat images are left out")
tables = {p: pd.DataFrame(v, columns=[f"x{i}" for i in range(v.shape[1])]) for p, v in x.items()}
t_train, t_val = arrays["t_train"], arrays["t_val"]
y, said = [], []
for k in range(t_train.shape[1]):
    rest = 0.93 * seconds - (time.monotonic() - began)
    joined = pd.concat(
        [tables["train"].assign(t=t_train[:, k]), tables["val"].assign(t=t_val[:, k])]
    )
    time_limit = rest / (t_train.shape[1] - k)
    presets = "good_quality" if time_limit >= ENOUGH_S else "medium_quality"
    predictor = TabularPredictor(
        "t", problem_type="regression", path=str(out / "model" / str(k)), verbosity=0
    ).fit(joined, time_limit=time_limit, presets=presets)
    y.append(predictor.predict(tables["test"]).to_numpy())
    said.append(predictor.model_best)
np.savez(out / "predictions.npz", y=np.stack(y, 1), said=", ".join(said))
