"""Compare rules that mix the network and the baselines by their validation predictions.

*What*: the base configuration is trained once and all baselines are fitted, on real sets in
../shared/data and on simulated ones; each rule chooses shares on the validation part and is scored
on the test part. *Found*: docs/decisions/take_home.md. *Command*: python benchmarks/mixtures.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import keep
from scipy.optimize import nnls

from hpo_utils import load_config
from hpo_utils.base.config import Config
from hpo_utils.baselines.fitted import MEAN, fit_baselines
from hpo_utils.baselines.take_home import POWER, mixture
from hpo_utils.data.preparation import prepare_data, with_source
from hpo_utils.training.directory import create_trial_output_dir
from hpo_utils.training.train import train_trial

BLOCKS = "../shared/data/cranfield_mff/blocks.npy"
N_STEPS = 256
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # predictions, truth -> shares, of one target


def simulated(directory: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return echoes, chirps, scattered spectra and set-points: inputs and targets by name."""
    rng, n, t = np.random.default_rng(0), 500, np.arange(N_STEPS)
    delay, width, height = rng.uniform(40, 210, n), rng.uniform(4, 16, n), rng.uniform(0.5, 2, n)
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    echo = height[:, None] * np.exp(-0.5 * ((t - delay[:, None]) / width[:, None]) ** 2)
    echo = echo * np.cos(0.6 * (t - delay[:, None]) + phase) + 0.15 * rng.normal(size=(n, N_STEPS))
    first, last = rng.uniform(0.02, 0.12, n), rng.uniform(0.12, 0.3, n)
    swept = first[:, None] * t + (last - first)[:, None] * t**2 / (2 * N_STEPS)
    chirp = rng.uniform(0.3, 3, (n, 1)) * np.cos(2 * np.pi * swept + phase)
    chirp = chirp + 0.3 * rng.normal(size=(n, N_STEPS))
    place, n_few = np.linspace(0, 1, 200), 180
    pure = sum(
        rng.uniform(0.3, 1, (5, 1))
        * np.exp(-0.5 * ((place - rng.uniform(size=(5, 1))) / rng.uniform(0.02, 0.12, (5, 1))) ** 2)
        for _ in range(5)
    )
    content = rng.dirichlet(np.ones(5), n_few)
    scatter = rng.uniform(0.6, 1.6, (n_few, 1)) * (content @ pure)
    scatter = (
        scatter + rng.uniform(-0.3, 0.3, (n_few, 1)) + rng.uniform(-0.3, 0.3, (n_few, 1)) * place
    )
    scatter = scatter + 0.002 * rng.normal(size=scatter.shape)
    level, point, answer = rng.normal(size=(12, 4)), rng.integers(0, 12, 600), rng.uniform(size=12)
    steps = level[point][:, :, None] + 0.1 * rng.normal(size=(600, 4, 1))
    steps = steps + 0.4 * rng.normal(size=(600, 4, 64))
    return {
        "echo": (echo[:, None], np.stack([delay, width, height], axis=1)),
        "chirp": (chirp[:, None], np.stack([first, last], axis=1)),
        "scatter": (scatter[:, None], content[:, :3]),
        "steps": (steps, answer[point][:, None] + 0.02 * rng.normal(size=(600, 1))),
    }


def configurations(directory: Path) -> dict[str, Config]:
    """Return the configuration of each set."""
    root = {"paths.outputs_root": str(directory)}
    found = {
        f"tecator, fold {k}": load_config("params/tecator.yaml", **root, **{"data_split.fold": k})
        for k in range(7)
    }
    riser = {"dataset.groups": BLOCKS, "dataset.name": "cranfield-blocks"}
    for seed in (42, 43, 44):
        split = {"data_split.seed": seed}
        found[f"riser, seed {seed}"] = load_config(
            "params/cranfield.yaml", **root, **riser, **split
        )
    found["demo"] = with_source(load_config("params/demo.yaml", **root))
    for name, (x, t) in simulated(directory).items():
        files = {f"dataset.{key}_train": str(directory / f"{name}_{key}.npy") for key in "xt"}
        np.save(files["dataset.x_train"], x.astype(np.float32))
        np.save(files["dataset.t_train"], t.astype(np.float32))
        found[name] = load_config("params/signals.yaml", **root, **files, **{"dataset.name": name})
    return found


def predictions(cfg: Config) -> dict[str, np.ndarray]:
    """Return standardised predictions (n_models, n_samples, n_targets) and truth by part."""
    data = prepare_data(cfg)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    train_trial(cfg, output_dir, data)
    files = {"val": "val_pred.npy", "test": "y_pred.npy"}
    baselines = [b for b in fit_baselines(data) if b.name != MEAN]
    found = {}
    for part, file in files.items():
        y = [np.load(output_dir / file), *(b.of(part) for b in baselines)]
        found[part] = np.stack([data.target_scaler.transform(each) for each in y]).astype(float)
        found[f"{part}_true"] = data.target_scaler.transform(data.targets(part)).astype(float)
    return found


def least_squares(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    together = 1e3 * np.sqrt(truth.size)
    shares = nnls(np.vstack([z.T, np.full(len(z), together)]), np.append(truth, together))[0]
    return shares / shares.sum()


def falling(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    errors = ((z - truth) ** 2).mean(axis=1)
    return (shares := (errors.min() / errors) ** POWER) / shares.sum()


def best(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.eye(len(z))[((z - truth) ** 2).mean(axis=1).argmin()]


def network(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.eye(len(z))[0]


def simplest(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Take the best single model unless the mixture is better by a standard error."""
    shares, alone = mixture(z, truth), best(z, truth)
    gain = (alone @ z - truth) ** 2 - (shares @ z - truth) ** 2
    return shares if gain.mean() > gain.std() / np.sqrt(len(gain)) else alone


RULES: dict[str, Rule] = {
    "network": network, "best": best, "least squares": least_squares, "falling": falling,
    "mixture": mixture, "one standard error": simplest,
}  # fmt: skip


def errors(found: dict[str, np.ndarray], rule: Rule, jointly: bool = False) -> np.ndarray:
    """Return the squared test error of each target with shares chosen on the validation part."""
    val, true = found["val"], found["val_true"]
    n_targets = true.shape[1]
    if jointly:
        same = rule(val.reshape(len(val), -1), true.ravel())
        shares = np.repeat(same[:, None], n_targets, axis=1)
    else:
        shares = np.stack([rule(val[:, :, k], true[:, k]) for k in range(n_targets)], axis=1)
    predicted = (shares[:, None] * found["test"]).sum(axis=0)
    return ((predicted - found["test_true"]) ** 2).mean(axis=0)


def main() -> None:
    """Print each rule's error over that of the best single model."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for name, cfg in configurations(Path(directory)).items():
            found = predictions(cfg)
            row = {rule: errors(found, RULES[rule]) for rule in RULES}
            row["least squares for all targets"] = errors(found, least_squares, jointly=True)
            rows.append({"set": name} | {r: e.tolist() for r, e in row.items()})
            print(name, {rule: round(float(e.mean()), 4) for rule, e in row.items()}, flush=True)
    for rule in (key for key in rows[0] if key != "set"):
        logs = [np.log(np.array(row[rule]) / row["best"]).mean() for row in rows]
        print(f"{rule:30s} {np.exp(np.mean(logs)):.3f}")
    keep("mixtures", rows)


if __name__ == "__main__":
    main()
