"""What the search costs in a notebook over calling it from Python.

    python benchmarks/notebook_cost.py [--repeats 3]

In turns, each in a process of its own and timed from its start: ``papermill`` on 03_optimize, and a
script with the same calls. Same study, same trials, no second trainings with fresh seeds, which
cost the same on both sides.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import keep

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "study.n_trials=4 evaluation.n_seeds=0"
SCRIPT = """
import sys
from hpo_utils.base.parameters import load_notebook_config
from hpo_utils.workers.server import start_server
cfg = load_notebook_config("params/demo.yaml", sys.argv[1])
start_server(cfg)
from hpo_utils.study.search import run_study
from hpo_utils.winner.settle import settle_winner
settle_winner(run_study(cfg), cfg)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    differences, runs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(-1, repeats):  # the first one prepares the data and warms the disk
            seconds = []
            for side in ("script", "papermill"):
                study = f"{side}-{repeat + 1}"
                overrides = f"paths.outputs_root={scratch}/runs study.name={study} {SETTINGS}"
                command = [sys.executable, "-c", SCRIPT, overrides]
                if side == "papermill":
                    command = [
                        sys.executable, "-m", "papermill", "notebooks/03_optimize.ipynb",
                        f"{scratch}/{study}.ipynb", "-p", "overrides", overrides,
                        "--no-progress-bar",
                    ]  # fmt: skip
                started = time.perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                seconds.append(time.perf_counter() - started)
            if repeat >= 0:
                differences.append(seconds[1] - seconds[0])
                runs.append({"script_s": seconds[0], "papermill_s": seconds[1]})
                print(f"script {seconds[0]:.1f} s, papermill {seconds[1]:.1f} s", flush=True)
    low, middle, high = np.min(differences), np.median(differences), np.max(differences)
    print(f"papermill over Python: {middle:.1f} s (median; {low:.1f} to {high:.1f})")
    keep("notebook_cost", runs)


if __name__ == "__main__":
    main()
