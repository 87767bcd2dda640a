"""nirs4all: PLS on searched pretreatments, its components tuned by Optuna, for spectra.

    peer_nirs4all.py SET.npz OUT SECONDS

One pipeline a target, five folds, refitted on all. Pretreatments are tried one after another as
long as the time lasts, the first for all targets, and chosen by the error of the folds.
"""

import sys
import time
import warnings
from pathlib import Path

import nirs4all
import numpy as np
from nirs4all.operators.transforms import (
    FirstDerivative,
    MultiplicativeScatterCorrection,
    SavitzkyGolay,
    SecondDerivative,
    StandardNormalVariate,
)
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold

warnings.filterwarnings("ignore")
began = time.monotonic()
arrays, out, seconds = np.load(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
x = {p: arrays[f"x_{p}"] for p in ("train", "val", "test")}
if x["train"].ndim > 3 or x["train"].shape[1] > 1:
    sys.exit("it takes spectra: series of one channel")
pool, test = np.concatenate([x["train"], x["val"]])[:, 0], x["test"][:, 0]
t = np.concatenate([arrays["t_train"], arrays["t_val"]])
SNV = StandardNormalVariate
CHAINS = {
    "SNV": [SNV()],
    "SNV, first derivative": [SNV(), FirstDerivative()],
    "MSC": [MultiplicativeScatterCorrection()],
    "second derivative": [SecondDerivative()],
    "SNV, second derivative": [SNV(), SecondDerivative()],
    "raw": [],
    "Savitzky-Golay": [SavitzkyGolay()],
}
most = min(30, pool.shape[1] - 1)
model = {
    "model": PLSRegression(),
    "finetune_params": {"n_trials": 15, "model_params": {"n_components": ("int", 1, most)}},
}
error, y = np.full(t.shape[1], np.inf), np.tile(t.mean(0), (len(test), 1))
chosen, tried = ["mean"] * t.shape[1], 0
longest = 0.0
for name, chain in CHAINS.items():
    for k in range(t.shape[1]):
        started = time.monotonic()
        if name != "SNV" and 0.95 * seconds - (started - began) < longest:
            break
        folds = KFold(5, shuffle=True, random_state=0)
        found = nirs4all.run(
            [*chain, folds, model], (pool, t[:, k]), verbose=0, random_state=0,
            workspace_path=str(out / "model"),
        )  # fmt: skip
        tried += 1
        best = found.best
        if best["val_score"] is not None and best["val_score"] < error[k]:
            error[k], chosen[k] = best["val_score"], name
            y[:, k] = np.ravel(nirs4all.predict(best, test).y_pred)
        longest = max(longest, time.monotonic() - started)
(out / "model").mkdir(exist_ok=True)
np.savez(out / "predictions.npz", y=y, said=f"PLS after {'; '.join(chosen)}; {tried} pipelines")
