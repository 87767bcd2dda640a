"""Compare settings, each by itself, by validation score on real and simulated sets.

*What*: the base configuration is trained on each set, as it is and with one setting changed, with
two seeds; the validation score is divided by that of the training as it is. The test parts are not
opened. *Found*: docs/decisions/augmentation.md and positions.md. *Command*: python
benchmarks/one_setting.py augmentation, and the same with positions
"""

from __future__ import annotations

import argparse
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from mixtures import configurations
from record import keep

from hpo_utils.base.config import Config, updated
from hpo_utils.baselines.components import sight_of
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.directory import create_trial_output_dir
from hpo_utils.training.train import train_trial

SEEDS = (42, 1)
SETS = ("tecator, fold 1", "tecator, fold 3", "riser, seed 42", "riser, seed 43",
        "echo", "chirp", "scatter", "steps")  # fmt: skip
TRIED: dict[str, tuple[dict[str, float], ...]] = {
    "augmentation": (
        {}, {"augmentation.noise": 0.05}, {"augmentation.noise": 0.2}, {"augmentation.gain": 0.1},
        {"augmentation.offset": 0.1}, {"augmentation.slope": 0.1}, {"augmentation.shift": 0.05},
        {"augmentation.mixup": 2.0},
    ),
    "positions": ({}, {"model.use_positions": True}),
}  # fmt: skip

CONFIGURATIONS: dict[str, Config] = {}  # by set, for the processes that are forked


def score(job: tuple[str, dict[str, float], int]) -> dict[str, object]:
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
        sets = {n: cfg for n, cfg in configurations(Path(directory)).items() if n in options.sets}
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
    print("validation score over that of the base configuration")
    for asked in tried[1:]:
        ratios = [means[name, str(asked)] / means[name, "{}"] for name in sets]
        print(f"{asked!s:18s}", *(f"{name} {r:.3f}" for name, r in zip(sets, ratios, strict=True)))
    keep(options.what, runs)


if __name__ == "__main__":
    main()
