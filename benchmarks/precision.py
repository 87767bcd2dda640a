"""What bfloat16 costs in score and saves in time, over training seeds.

    python benchmarks/precision.py [--seeds 5] [--params-file params/demo.yaml] [--overrides "..."]

In turns, the base configuration is trained in float32 and in bfloat16 with the same seeds; both are
validated in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
from record import keep

from hpo_utils.base.config import load_config, updated
from hpo_utils.study.by_hand import train_by_hand

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--params-file", default="params/demo.yaml")
    parser.add_argument("--overrides", default="")
    options = parser.parse_args()
    scores: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as root:
        overrides = [*options.overrides.split(), f"paths.outputs_root={root}"]
        base = load_config(options.params_file, overrides)
        for seed in range(-1, options.seeds):  # the first one prepares the data and warms up
            for precision in PRECISIONS:
                cfg = updated(base, {"training.precision": precision, "training.seed": 42 + seed})
                started = time.perf_counter()
                score = float(train_by_hand(cfg)[1]["score"])
                if seed >= 0:
                    scores[precision].append(score)
                    seconds[precision].append(time.perf_counter() - started)
            if seed >= 0:
                print(f"seed {42 + seed}:", *(f"{scores[p][-1]:.4f}" for p in PRECISIONS))
    for precision in PRECISIONS:
        mean, spread = np.mean(scores[precision]), np.std(scores[precision], ddof=1)
        print(
            f"{precision}: score {mean:.4f} ± {spread:.4f}, {np.median(seconds[precision]):.2f} s"
        )
    ratios = np.divide(seconds["float32"], seconds["bfloat16"])
    low, middle, high = np.min(ratios), np.median(ratios), np.max(ratios)
    print(f"bfloat16 is {middle:.2f} times faster ({low:.2f} to {high:.2f})")
    runs = [{"precision": p, "scores": scores[p], "seconds": seconds[p]} for p in PRECISIONS]
    keep("precision", runs)


if __name__ == "__main__":
    main()
