"""Prepare many small signals, (20000, 2, 128) float32, audit them, fit the baselines; print times.

python benchmarks/many_samples.py [--samples 20000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import keep

from hpo_utils.base.config import Config, load_config
from hpo_utils.baselines.fitted import fit_baselines
from hpo_utils.data.audit import audit_leakage
from hpo_utils.data.preparation import prepare_data


def make_config(directory: Path, n_samples: int) -> Config:
    """Write noise with two targets, and return the configuration that reads it."""
    rng = np.random.default_rng(0)
    np.save(directory / "x.npy", rng.normal(size=(n_samples, 2, 128)).astype(np.float32))
    np.save(directory / "t.npy", rng.normal(size=(n_samples, 2)).astype(np.float32))
    return load_config(
        "params/smoke.yaml",
        **{
            "dataset.x_train": str(directory / "x.npy"),
            "dataset.t_train": str(directory / "t.npy"),
            "paths.outputs_root": str(directory / "runs"),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cfg = make_config(Path(directory), options.samples)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("prepared", lambda: prepare_data(cfg)),
            ("audited", lambda: audit_leakage(prepare_data(cfg))),
            ("baselines fitted", lambda: fit_baselines(prepare_data(cfg))),
        ]
        runs = []
        for name, step in steps:
            started = time.perf_counter()
            step()
            runs.append({"what": name, "seconds": time.perf_counter() - started})
            print(f"{name} in {runs[-1]['seconds']:.1f} s", flush=True)
    keep("many_samples", runs, samples=options.samples)


if __name__ == "__main__":
    main()
