"""How far predictions differ between the device that a bundle was trained on and a CPU.

    python benchmarks/bundle_on_cpu.py

A small study is settled here; its bundle then predicts all samples here, in a process that sees no
GPU, and by ONNX Runtime on the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import keep

from hpo_utils.base.config import load_config
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.study.search import run_study
from hpo_utils.winner.settle import settle_winner

PREDICT = """
import sys
import numpy as np
from hpo_utils.bundle.bundle import load_bundle, predict
np.save(sys.argv[3], predict(load_bundle(sys.argv[1]), np.load(sys.argv[2])).y)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        scratch = Path(root)
        own = [f"paths.outputs_root={scratch}", "study.n_trials=3", "evaluation.take_home=network"]
        cfg = load_config("params/smoke.yaml", own)
        settle_winner(run_study(cfg), cfg)
        bundle = next(scratch.rglob("model.onnx")).parent
        inputs = next((scratch / "data" / "source").rglob("x_train.npy"))
        found = predict(load_bundle(bundle), np.load(inputs)).y
        commands = {
            "PyTorch": ["-c", PREDICT, bundle, inputs, scratch / "PyTorch.npy"],
            "ONNX": ["-m", "hpo_utils", "predict", bundle, inputs, "--out", scratch / "ONNX.npy"],
        }
        runs = []
        for how, command in commands.items():
            subprocess.run(
                [sys.executable, *map(str, command)],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                check=True,
            )
            apart = np.abs(np.load(scratch / f"{how}.npy") - found).max(axis=0) / found.std(axis=0)
            runs.append({"how": how, "apart": apart.tolist()})
            print(f"{how}: at most {apart.max():.1e} of a target's standard deviation apart")
        keep("bundle_on_cpu", runs)


if __name__ == "__main__":
    main()
