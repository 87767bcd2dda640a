"""This project's own entry: defaults and a budget of time.  product.py SET.npz OUT SECONDS"""

import sys
from pathlib import Path

import numpy as np
import sets

from hpo_utils import run_study, settle_winner
from hpo_utils.base.config import updated
from hpo_utils.bundle.bundle import load_bundle, predict
from hpo_utils.report.verdict import models_at_home
from hpo_utils.winner.settle import winner_directory


def main() -> None:
    file, out, seconds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    cfg = sets.settings(file.stem, file.parent / file.stem)
    cfg = updated(cfg, {"study.budget": f"{seconds}s", "study.n_trials": 1000,
                        "paths.outputs_root": str(out / "runs")})  # fmt: skip
    study = run_study(cfg)
    evaluation = settle_winner(study, cfg)
    assert evaluation is not None
    bundle = winner_directory(out / "runs", study.study_name) / "bundle"
    bundle.rename(out / "model")
    y = predict(load_bundle(out / "model"), np.load(file)["raw_test"], accept_outliers=True).y
    said = models_at_home(evaluation["examination"])
    np.savez(out / "predictions.npz", y=y, said=f"{said}; {len(study.trials)} trials")


if __name__ == "__main__":  # workers import this file again
    main()
