"""Compare settings, each by itself, by validation score on real and simulated sets.

*What*: the base configuration is trained on each set, as it is and with one setting changed, with
two seeds; the validation score is divided by that of the training as it is. The test parts are not
opened. *Found*: docs/decisions/augmentation.md, positions.md and depth.md. *Command*: python
benchmarks/one_setting.py augmentation, and the same with positions and with depth, where the
convolutions are alone
"""

from __future__ import annotations

import argparse
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mixtures import configurations
from numpy.typing import NDArray
from record import keep

from hpo_utils.base.config import Config, load_config, updated
from hpo_utils.baselines.components import sight_of
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.directory import create_trial_output_dir
from hpo_utils.training.train import train_trial

SEEDS = (42, 1)
SETS = ("tecator, fold 1", "tecator, fold 3", "riser, seed 42", "riser, seed 43",
        "echo", "chirp", "scatter", "steps", "A-scans", "A-scans, convolutions alone")  # fmt: skip
ALONE = {  # convolutions alone, as in params/first_trials_signals.yaml
    "model.hidden": 48, "model.dropout_rate": 0.2, "model.pretreatment": "snv",
    "model.linear_start": False, "model.use_views": False, "model.use_positions": True,
    "model.use_statistics": True, "augmentation.noise": 0.1, "training.learning_rate": 0.003,
    "training.batch_size": 16, "training.weight_decay": 1e-4, "training.epochs": 40,
}  # fmt: skip
TRIED: dict[str, tuple[dict[str, Any], ...]] = {
    "augmentation": (
        {}, {"augmentation.noise": 0.05}, {"augmentation.noise": 0.2}, {"augmentation.gain": 0.1},
        {"augmentation.offset": 0.1}, {"augmentation.slope": 0.1}, {"augmentation.shift": 0.05},
        {"augmentation.mixup": 2.0},
    ),
    "positions": ({}, {"model.use_positions": True}),
    "depth": (
        ALONE,
        *({**ALONE, "model.use_residual": False, "model.depth": depth, "model.kernel_size": size}
          for depth, size in ((2, 3), (3, 7), (4, 5), (5, 5))),
    ),
}  # fmt: skip

CONFIGURATIONS: dict[str, Config] = {}  # by set, for the processes that are forked


def a_scans() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return echoes in two sensors, (350, 2, 1024), and their delay, height and distance."""
    rng, n, t = np.random.default_rng(5), 350, np.arange(1024)
    delay, height = rng.uniform(200, 700, (n, 1)), rng.uniform(0.1, 1, (n, 1))
    apart, frequency = rng.uniform(20, 120, (n, 1)), 0.05 * (1 + 0.1 * rng.normal(size=(n, 1)))

    def pulse(at: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.exp(-(((t - at) / 18) ** 2)) * np.cos(2 * np.pi * frequency * (t - at))

    echo = pulse(80.0) + height * (pulse(delay) - 0.6 * pulse(delay + apart))
    echo = echo * rng.uniform(0.7, 1.4, (n, 1))
    x = np.stack([echo, 0.7 * np.roll(echo, 30, axis=1)], axis=1)
    return x + 0.08 * rng.normal(size=x.shape), np.hstack([delay, height, apart])


def added(directory: Path) -> dict[str, Config]:
    """Return the configurations of the A-scans, with views of the inputs and without."""
    files = {f"dataset.{key}_train": str(directory / f"scans_{key}.npy") for key in "xt"}
    for file, values in zip(files.values(), a_scans(), strict=True):
        np.save(file, values.astype(np.float32))
    given = {**files, "paths.outputs_root": str(directory), "dataset.name": "scans"}
    alone = {"model.linear_start": False, "model.use_views": False}
    return {
        "A-scans": load_config("params/signals.yaml", **given),
        "A-scans, convolutions alone": load_config("params/signals.yaml", **given, **alone),
    }


def score(job: tuple[str, dict[str, Any], int]) -> dict[str, object]:
    """Return the validation score of one training."""
    torch.set_num_threads(1)
    name, asked, seed = job
    more = {"training.seed": seed, "evaluation.strict_test": True, "training.n_threads": 1}
    cfg = updated(CONFIGURATIONS[name], {**asked, **more})
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    found = train_trial(cfg, output_dir, prepare_data(cfg))["score"]
    print(f"{name} {asked} seed {seed}: {found:.4f}", flush=True)
    return {"set": name, "settings": asked, "seed": seed, "score": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=TRIED)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options = parser.parse_args()
    tried = TRIED[options.what]
    with tempfile.TemporaryDirectory() as directory:
        known = {**configurations(Path(directory)), **added(Path(directory))}
        sets = {name: cfg for name, cfg in known.items() if name in options.sets}
        CONFIGURATIONS.update(sets)
        for cfg in sets.values():
            sight_of(cfg, prepare_data(cfg))
        jobs = [(n, a, seed) for n in sets for a in tried for seed in SEEDS]
        with get_context("fork").Pool(2) as pool:
            runs = pool.map(score, jobs, chunksize=1)
    means = {
        (name, str(asked)): np.mean(
            [r["score"] for r in runs if (r["set"], r["settings"]) == (name, asked)]
        )
        for name in sets
        for asked in tried
    }
    print("validation score over that of the first")
    for asked in tried[1:]:
        ratios = [means[name, str(asked)] / means[name, str(tried[0])] for name in sets]
        own = {key: value for key, value in asked.items() if tried[0].get(key) != value}
        print(f"{own!s:18s}", *(f"{name} {r:.3f}" for name, r in zip(sets, ratios, strict=True)))
    keep(options.what, runs)


if __name__ == "__main__":
    main()
