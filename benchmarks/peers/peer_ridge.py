"""The floor: ridge regression on this project's views.  peer_ridge.py SET.npz OUT SECONDS

Nothing is searched; the penalty of each target is chosen by cross-validation on training and
validation part together.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from hpo_utils.baselines.components import Components
from hpo_utils.baselines.linear import fit_ridge
from hpo_utils.baselines.views import LINEAR, views
from hpo_utils.data.scaling import in_blocks


def features(x: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the linear views of inputs (n_samples, n_channels, ...), standardised by channel."""
    mean, std = (each.reshape(1, -1, *(1,) * (x.ndim - 2)) for each in scale)
    pieces = in_blocks(x)
    found = [views(torch.from_numpy((piece - mean) / std), LINEAR)[0].numpy() for piece in pieces]
    return np.concatenate(found)


def main() -> None:
    given, out = np.load(sys.argv[1]), Path(sys.argv[2])
    x = np.concatenate([given["x_train"], given["x_val"]])
    t = np.concatenate([given["t_train"], given["t_val"]]).astype(np.float64)
    axes = (0, *range(2, x.ndim))
    scale = x.mean(axes), np.maximum(x.std(axes), 1e-12)
    seen = features(x, scale)
    components = Components.of(seen)
    mean, std = t.mean(axis=0), t.std(axis=0)
    inputs = components(torch.from_numpy(seen)).numpy()
    model, penalty = fit_ridge(inputs, (t - mean) / std, None)
    new = components(torch.from_numpy(features(given["x_test"], scale)))
    y = np.clip(model(new).numpy() * std + mean, t.min(axis=0), t.max(axis=0))
    (out / "model").mkdir()
    torch.save({**components.arrays(), **model.arrays()}, out / "model" / "ridge.pt")
    np.savez(out / "predictions.npz", y=y, said=f"penalty {penalty:.2g}")


if __name__ == "__main__":
    main()
