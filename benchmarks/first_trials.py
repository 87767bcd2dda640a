"""The best validation error after so many trials: with the given first trials, and without.

The results go to benchmarks/results/first_trials.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import record
from numpy.typing import NDArray

from hpo_utils import run_study
from hpo_utils.base.config import load_config

AFTER = (3, 6, 10, 20)
Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]


def bursts() -> Arrays:
    """Bursts at random instants in two sensors; the targets are their rate and frequency."""
    rng, n, length = np.random.default_rng(13), 600, 256
    x = 0.3 * rng.normal(size=(n, 2, length))
    rate, frequency, step = rng.uniform(1, 12, n), rng.uniform(0.05, 0.3, n), np.arange(60)
    for i in range(n):
        for start in rng.integers(0, length, rng.poisson(rate[i])):
            size = rng.uniform(0.7, 1.3)
            burst = size * np.exp(-step / 12) * np.sin(2 * np.pi * frequency[i] * step)
            kept = min(len(step), length - start)
            x[i, :, start : start + kept] += np.array([[1.0], [0.5]]) * burst[:kept]
    return x, np.stack([rate, frequency], axis=1)


def pulses() -> Arrays:
    """Pulse waves of any size; the targets are rate, and delay and size of the reflection."""
    rng, n = np.random.default_rng(14), 400
    time = np.arange(250) / 50.0
    rate, delay = rng.uniform(0.8, 2.2, (n, 1)), rng.uniform(0.12, 0.3, (n, 1))
    size, phase = rng.uniform(0.2, 0.8, (n, 1)), rng.uniform(0, 1, (n, 1))
    beat = ((time * rate + phase) % 1.0) / rate
    wave = np.exp(-(((beat - 0.12) / 0.06) ** 2))
    wave = wave + size * np.exp(-(((beat - 0.12 - delay) / 0.08) ** 2))
    breath = 0.3 * np.sin(2 * np.pi * 0.25 * time + 6 * phase)
    x = wave + breath + 0.08 * rng.normal(size=wave.shape)
    gain = rng.uniform(0.5, 2, (n, 1))
    return (gain * x)[:, None], np.hstack([rate, delay, size])


SETS = {"bursts": bursts, "pulses": pulses}


def best_after(name: str, seed: int, given: bool, directory: Path) -> list[float]:
    """Return the best score after each number of trials in ``AFTER``."""
    files = {}
    for key, array in zip(("x_train", "t_train"), SETS[name](), strict=True):
        files[f"dataset.{key}"] = str(directory / f"{key}.npy")
        np.save(directory / f"{key}.npy", array.astype(np.float32))
    cfg = load_config(
        "params/signals.yaml",
        **files, **{
            "paths.outputs_root": str(directory / "runs"), "study.seed": seed,
            "study.n_trials": max(AFTER), "study.n_workers": 2,
        },
    )  # fmt: skip
    if not given:
        cfg.study.first_trials = None
    trials = [t for t in run_study(cfg).trials if t.state.name in ("COMPLETE", "PRUNED")]
    trials.sort(key=lambda trial: trial.datetime_complete)
    values = [t.value if t.state.name == "COMPLETE" else np.inf for t in trials]
    return [float(min(values[:n])) for n in AFTER]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    rows, runs = [], []
    for name in options.sets:
        for seed in options.seeds:
            for given in (True, False):
                with tempfile.TemporaryDirectory() as directory:
                    found = best_after(name, seed, given, Path(directory))
                how = "given" if given else "random"
                rows.append([name, str(seed), how, *(f"{value:.3f}" for value in found)])
                best = {f"after_{n}": value for n, value in zip(AFTER, found, strict=True)}
                runs.append({"data": name, "seed": seed, "first_trials": how, **best})
    print(f"| data | seed | first trials | {' | '.join(f'after {n}' for n in AFTER)} |")
    print("|---" * (3 + len(AFTER)) + "|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    record.keep("first_trials", runs)
