"""aeon's regressors of series, one model a target, the best by validation.

    peer_aeon.py SET.npz OUT SECONDS

Images are taken as series along their last axis, with a channel for each row. The candidates are
those that aeon's own comparison ranks first (Guijo-Rubio et al. 2024), fastest first. The first is
always fitted to all targets; another only if the rest of the time should suffice.
"""

import pickle
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from aeon.regression.convolution_based import MultiRocketRegressor
from aeon.regression.feature_based import FreshPRINCERegressor
from aeon.regression.interval_based import DrCIFRegressor, QUANTRegressor

warnings.filterwarnings("ignore")
began = time.monotonic()
arrays, out, seconds = np.load(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
x = {p: arrays[f"x_{p}"].astype(np.float64) for p in ("train", "val", "test")}
x = {p: v.reshape(len(v), -1, v.shape[-1]) for p, v in x.items()}
t_train, t_val = arrays["t_train"], arrays["t_val"]
n_targets = t_train.shape[1]


def left() -> float:
    return 0.95 * seconds - (time.monotonic() - began)


CANDIDATES = {
    "MultiRocket": lambda: MultiRocketRegressor(n_jobs=-1, random_state=0),
    "QUANT": lambda: QUANTRegressor(random_state=0),
    "DrCIF": lambda: DrCIFRegressor(
        time_limit_in_minutes=max(left(), 6) / 120 / n_targets, n_jobs=-1, random_state=0
    ),
    "FreshPRINCE": lambda: FreshPRINCERegressor(n_jobs=-1, random_state=0),
}
y = np.tile(t_train.mean(0), (len(x["test"]), 1))
error = np.full(n_targets, np.inf)
chosen, models, refused = ["mean"] * n_targets, {}, []
for name, make in CANDIDATES.items():
    started = time.monotonic()
    for k in range(n_targets):
        one = (time.monotonic() - started) / max(k, 1)
        needed = max(one, 0.1 * seconds) * (1 if k else n_targets / 2)
        if name != next(iter(CANDIDATES)) and left() < needed:
            refused.append(f"{name} from target {k} on")
            break
        try:
            model = make().fit(x["train"], t_train[:, k])
            of_val = np.mean((model.predict(x["val"]) - t_val[:, k]) ** 2)
            if of_val < error[k]:
                y[:, k], error[k] = model.predict(x["test"]), of_val
                chosen[k], models[k] = name, model
        except Exception as reason:
            refused.append(f"{name}: {str(reason)[:80]}")
            break
(out / "model").mkdir()
(out / "model" / "models.pickle").write_bytes(pickle.dumps(models))
said = ", ".join(chosen) + (f"; no time or not able: {', '.join(refused)}" if refused else "")
np.savez(out / "predictions.npz", y=y, said=said)
