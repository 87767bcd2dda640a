"""Prepare many signals, audit them, fit the baselines and train: seconds, and the largest memory.

    python benchmarks/many_samples.py [--samples 20000] [--channels 2] [--length 128] [--trials 0]

The signals are damped tones in noise; the targets are frequency and damping. A trial trains for two
epochs as ``params/signals.yaml`` says. The memory is that of this process, with what its libraries
take; that of each step alone is known on Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import keep, peak

from hpo_utils.base.config import Config, load_config
from hpo_utils.baselines.fitted import fit_baselines
from hpo_utils.data.audit import audit_leakage
from hpo_utils.data.preparation import prepare_data
from hpo_utils.study.search import run_study

AT_ONCE = 10_000  # samples that are made at a time


def make_config(directory: Path, shape: tuple[int, int, int], n_trials: int) -> Config:
    """Write signals of this shape with two targets; return the configuration that reads them."""
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(directory / "x.npy", "w+", np.float32, shape)
    t = rng.uniform((3.0, 0.5), (40.0, 8.0), (shape[0], 2)).astype(np.float32)
    axis = np.linspace(0.0, 1.0, shape[2], endpoint=False)
    for start in range(0, shape[0], AT_ONCE):
        frequency, damping = t[start : start + AT_ONCE].T[:, :, None, None]
        some = x[start : start + AT_ONCE]
        phase = rng.uniform(0.0, 2.0 * np.pi, (*some.shape[:2], 1))
        tone = np.exp(-damping * axis) * np.sin(2.0 * np.pi * frequency * axis + phase)
        some[:] = tone + rng.normal(0.0, 0.5, some.shape)
    x.flush()
    np.save(directory / "t.npy", t)
    overrides = ["training.epochs=2", f"study.n_trials={n_trials or 1}", "study.n_workers=1"]
    return load_config("params/signals.yaml", overrides, **{
        "dataset.x_train": str(directory / "x.npy"),
        "dataset.t_train": str(directory / "t.npy"),
        "paths.outputs_root": str(directory / "runs"),
    })  # fmt: skip


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--trials", type=int, default=0)
    options = parser.parse_args()
    shape = (options.samples, options.channels, options.length)
    with tempfile.TemporaryDirectory() as directory:
        cfg = make_config(Path(directory), shape, options.trials)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("prepared", lambda: prepare_data(cfg)),
            ("audited", lambda: audit_leakage(prepare_data(cfg))),
            ("baselines fitted", lambda: fit_baselines(prepare_data(cfg))),
        ]
        if options.trials:
            steps.append((f"trained {options.trials} trials", lambda: run_study(cfg)))
        runs = []
        for name, step in steps:
            forget_peak()
            started = time.perf_counter()
            step()
            runs.append({
                "what": name, "seconds": time.perf_counter() - started, "peak_bytes": peak(),
            })  # fmt: skip
            told = f"{runs[-1]['seconds']:.1f} s with at most {peak() / 1e6:.0f} MB"
            print(f"{name} in {told}", flush=True)
    keep("many_samples", runs, shape=list(shape), arrays_bytes=4 * int(np.prod(shape)))


if __name__ == "__main__":
    main()
