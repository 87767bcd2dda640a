"""One search, settled twice: one part validates in the race, or five in turn.

*What*: simulated pulses and the riser by blocks (../shared/data), with split seeds that no results
page shows. A search; then its winner is settled with ``evaluation.race_folds`` of 1 and of 5. Both
are told by 1 - R² in the test part, by the share of it inside the intervals, and by their width.
*Found*: docs/decisions/race_folds.md. *Command*: python benchmarks/race_folds.py
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from first_trials import pulses
from record import keep

from hpo_utils import run_study, settle_winner
from hpo_utils.base.config import Config, load_config, updated

RISER = "../shared/data/cranfield_mff/blocks.npy"
SETS = ("pulses", "riser 45", "riser 46")
FOLDS = (1, 5)


def configuration(name: str, root: Path) -> Config:
    """Return the settings of a study on one set, which is written below ``root`` if simulated."""
    given: dict[str, Any] = {
        "paths.outputs_root": str(root / "runs"), "study.n_workers": 2, "study.n_trials": 8,
        "evaluation.strict_test": True, "evaluation.compare_random_split": False,
    }  # fmt: skip
    if name.startswith("riser"):
        seed = int(name.split()[1])
        own = {"dataset.groups": RISER, "dataset.name": "riser", "data_split.seed": seed}
        return load_config("params/cranfield.yaml", **given, **own)
    root.mkdir(parents=True, exist_ok=True)
    for key, array in zip("xt", pulses(), strict=True):
        np.save(root / f"{key}.npy", array.astype(np.float32))
        given[f"dataset.{key}_train"] = str(root / f"{key}.npy")
    return load_config("params/signals.yaml", **given)


def settled(cfg: Config, n_folds: int) -> dict[str, Any]:
    """Settle the winner of a finished search with so many parts in the race."""
    cfg = updated(cfg, {"evaluation.race_folds": n_folds})
    began = time.monotonic()
    evaluation = settle_winner(run_study(cfg), cfg)
    if evaluation is None:
        raise SystemExit("the search has no complete trial")
    found = evaluation["examination"]
    home = "what goes home" if "what goes home" in found["test"] else "network"
    return {
        "folds": n_folds,
        "seconds": time.monotonic() - began,
        "validated": found["n_val_units"],
        **{
            model: [1 - (each["r2"] or 0.0) for each in found["test"][own].values()]
            for model, own in (("home", home), ("network", "network"))
        },
        "coverage": [each["calibrated"] for each in found["coverage"]],
        "half_width": [each["half_width"] for each in found["coverage"]],
        "shares": found["shares"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    runs = []
    for name in parser.parse_args().sets:
        with tempfile.TemporaryDirectory() as directory:
            searched = Path(directory) / "searched"
            run_study(configuration(name, searched))
            for n_folds in FOLDS:
                root = Path(directory) / str(n_folds)
                shutil.copytree(searched, root, symlinks=True)
                runs.append({"data": name, **settled(configuration(name, root), n_folds)})
                print(runs[-1], flush=True)
    keep("race_folds", runs)
