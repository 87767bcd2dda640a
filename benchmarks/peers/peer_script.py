"""A plain script of PyTorch and Optuna, as their documentation shows it.

    peer_script.py SET.npz OUT SECONDS

It tunes learning rate, width, depth, kernel, dropout, weight decay and batch size of a
convolutional network with TPE and a median pruner, standardises inputs and targets, and keeps the
weights of the best epoch of the best trial.
"""

import sys
import time
from pathlib import Path

import numpy as np
import optuna
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 60


def network(trial: optuna.Trial, n_channels: int, n_axes: int, n_targets: int) -> nn.Module:
    conv, norm, pool, mean = (
        (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d),
        (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    )[n_axes - 1]
    width = trial.suggest_categorical("width", [16, 32, 64])
    kernel = trial.suggest_categorical("kernel", [3, 5, 7])
    layers: list[nn.Module] = []
    for i in range(trial.suggest_int("depth", 2, 4)):
        layers += [conv(n_channels if i == 0 else width, width, kernel, padding="same"),
                   norm(width), nn.ReLU(), pool(2)]  # fmt: skip
    dropout = nn.Dropout(trial.suggest_float("dropout", 0.0, 0.5))
    return nn.Sequential(*layers, mean(1), nn.Flatten(), dropout, nn.Linear(width, n_targets))


def main() -> None:
    began = time.monotonic()
    arrays, out, seconds = np.load(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    torch.manual_seed(0)
    x = {part: torch.tensor(arrays[f"x_{part}"]) for part in ("train", "val", "test")}
    t = {part: torch.tensor(arrays[f"t_{part}"]) for part in ("train", "val")}
    axes = [0, *range(2, x["train"].ndim)]
    mean, std = x["train"].mean(axes, keepdim=True), x["train"].std(axes, keepdim=True)
    x = {part: (values - mean) / std for part, values in x.items()}
    level, scale = t["train"].mean(0), t["train"].std(0)
    z = {part: (values - level) / scale for part, values in t.items()}
    best: dict = {"loss": float("inf")}

    def objective(trial: optuna.Trial) -> float:
        model = network(trial, x["train"].shape[1], x["train"].ndim - 2, t["train"].shape[1])
        optimizer = torch.optim.Adam(
            model.parameters(), trial.suggest_float("lr", 1e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        )  # fmt: skip
        batch = trial.suggest_categorical("batch", [8, 16, 32, 64, 128])
        loader = DataLoader(
            TensorDataset(x["train"], z["train"]), batch, shuffle=True, drop_last=True
        )
        lowest = float("inf")
        for epoch in range(EPOCHS):
            model.train()
            for one, truth in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(one), truth).backward()
                optimizer.step()
                if time.monotonic() - began > 0.92 * seconds:
                    break
            model.eval()
            with torch.no_grad():
                found = torch.cat([model(piece) for piece in x["val"].split(256)])
                loss = float(nn.functional.mse_loss(found, z["val"]))
                if loss < best["loss"]:
                    test = torch.cat([model(piece) for piece in x["test"].split(256)])
                    best.update(loss=loss, y=test * scale + level, model=model.state_dict())
            lowest = min(lowest, loss)
            trial.report(loss, epoch)
            if time.monotonic() - began > 0.92 * seconds:
                trial.study.stop()
                break
            if trial.should_prune():
                raise optuna.TrialPruned
        return lowest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, timeout=0.92 * seconds)
    (out / "model").mkdir()
    torch.save(best["model"], out / "model" / "weights.pt")
    np.savez(out / "predictions.npz", y=best["y"].numpy(), said=f"{len(study.trials)} trials")


main()
