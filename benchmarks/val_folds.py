"""Compare five seeds on one validation part with five trainings that each leave out another one.

*What*: the base configuration of params/tecator.yaml on each of its seven test folds; the mean of
five networks predicts the test part. Once all five validate on the given part, once each on another
of `PreparedData.val_folds`. Nothing is chosen. *Found*: docs/decisions/val_folds.md. *Command*:
python benchmarks/val_folds.py
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from record import keep

from hpo_utils import load_config
from hpo_utils.base.config import updated
from hpo_utils.bundle.members import load_member, predict_part
from hpo_utils.data.preparation import prepare_data
from hpo_utils.training.directory import create_trial_output_dir
from hpo_utils.training.train import train_trial

N_MEMBERS, N_FOLDS = 5, 7


def main() -> None:
    torch.set_num_threads(1)
    errors: dict[str, list[np.ndarray]] = {"one validation part": [], "five in turn": []}
    runs = []
    with tempfile.TemporaryDirectory() as directory:
        for fold in range(N_FOLDS):
            root = {"paths.outputs_root": directory, "evaluation.score_folds": N_MEMBERS}
            cfg = load_config("params/tecator.yaml", **root, **{"data_split.fold": fold})
            data = prepare_data(cfg)
            for how, found in errors.items():
                members = []
                for k in range(N_MEMBERS):
                    own = {
                        "training.seed": 100 + k, "evaluation.strict_test": True,
                        "data_split.val_fold": k if how == "five in turn" else 0,
                    }  # fmt: skip
                    output_dir = create_trial_output_dir(directory)
                    member = updated(cfg, own)
                    train_trial(member, output_dir, data.used_by(member))
                    members.append(load_member(output_dir))
                y = predict_part(members, data, "test").mean(axis=0)
                found.append((y - data.targets("test")) ** 2)
                rmse = np.sqrt(found[-1].mean(axis=0)).tolist()
                runs.append({"fold": fold, "members": how, "rmse": rmse})
                print(
                    f"fold {fold}, {how}: " + " ".join(f"{each:.3f}" for each in rmse), flush=True
                )
    print("RMSE over all folds, in %: " + ", ".join(data.target_names))
    for how, found in errors.items():
        pooled = np.sqrt(np.concatenate(found).mean(axis=0))
        print(f"{how:20s} " + " ".join(f"{each:.3f}" for each in pooled))
    keep("val_folds", runs, targets=data.target_names)


if __name__ == "__main__":
    main()
