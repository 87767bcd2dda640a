"""The plain script: what a good engineer writes in an afternoon, as a yardstick for speed.

    python benchmarks/plain_reference.py SETTINGS.json

It tunes the same networks in the same search space on the same arrays, split and score as
``hpo_utils``, one step after the other: in every trial it loads the arrays, leaves out channels,
splits, scales, makes DataLoaders, trains in float32 with Adam, reports each epoch to a
``MedianPruner`` on SQLite, evaluates the test part, and writes weights, metrics, predictions and
figures. It is a fair opponent: PyTorch uses all cores, the arrays come from memory, nothing is slow
on purpose. From ``hpo_utils`` come only search space and settings, which must be the same on both
sides; the networks are written out as one writes them, and take the same weights.

``SETTINGS.json`` is written by ``against_plain.py``: params file, overrides, arrays, split, number
of trials, seed, output directory, and optionally the configurations to train instead of a search.
"""

from __future__ import annotations

import gc
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import optuna
import torch
import yaml
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hpo_utils.base.config import Config, as_dict, load_config, with_target_weights
from hpo_utils.network.losses import WeightedMSELoss
from hpo_utils.trials.search_space import load_search_space, suggest_hyperparameters


class ResidualBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ResidualCNN(nn.Module):
    def __init__(self, n_channels: int, n_targets: int, hidden: int, dropout_rate: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, hidden, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential(
            ResidualBlock(hidden, hidden, 1),
            ResidualBlock(hidden, 2 * hidden, 2),
            ResidualBlock(2 * hidden, 4 * hidden, 2),
            ResidualBlock(4 * hidden, 4 * hidden, 2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout_rate),
            nn.Linear(4 * hidden, 2 * hidden),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(2 * hidden, n_targets),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1))


class PlainCNN(nn.Module):
    def __init__(self, n_channels: int, n_targets: int, hidden: int, dropout_rate: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(n_channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout_rate), nn.Linear(hidden, n_targets)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def create_model(cfg: Config, x_sample: Tensor, out_dim: int, device: torch.device) -> nn.Module:
    network = ResidualCNN if cfg.model.use_residual else PlainCNN
    model = network(x_sample.shape[1], out_dim, cfg.model.hidden, cfg.model.dropout_rate)
    return model.to(device)


def create_trial_output_dir(outputs_root: Path) -> Path:
    directory = outputs_root / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    for folder in ("logs", "weights", "evaluation_plots"):
        (directory / folder).mkdir(parents=True)
    return directory


def load_parts(settings: dict[str, Any], cfg: Config) -> dict[str, tuple[Tensor, Tensor]]:
    """Load, leave out channels, downsample, split and scale by the training part."""
    x = np.load(settings["x_train"])[:, settings["channels"]]
    t = np.load(settings["t_train"])
    x = x[:, :, :: cfg.dataset.downsample_factor]
    split = {part: np.array(index) for part, index in settings["split"].items()}
    axes = (0, *range(2, x.ndim))
    x_mean = x[split["train"]].mean(axes, keepdims=True)
    x_std = x[split["train"]].std(axes, keepdims=True)
    t_mean, t_std = t[split["train"]].mean(0), t[split["train"]].std(0)
    x, t = (x - x_mean) / x_std, (t - t_mean) / t_std
    return {
        part: (torch.from_numpy(x[index]).float(), torch.from_numpy(t[index]).float())
        for part, index in split.items()
    }


def train_one_epoch(
    model: nn.Module, loader: Any, criterion: nn.Module, optimizer: Any, device: torch.device
) -> float:
    model.train()
    total = 0.0
    for x, t in loader:
        if len(x) == 1:  # batch normalisation has no statistics of one sample
            continue
        x, t = x.to(device), t.to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), t)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: Any, device: torch.device
) -> tuple[float, float, np.ndarray, np.ndarray]:
    model.eval()
    y_pred = np.concatenate([model(x.to(device)).cpu().numpy() for x, _ in loader])
    y_true = np.concatenate([t.numpy() for _, t in loader])
    return (
        float(mean_squared_error(y_true, y_pred)),
        float(mean_absolute_error(y_true, y_pred)),
        y_pred,
        y_true,
    )


def save_trial_results(
    output_dir: Path,
    cfg: Config,
    trial: optuna.Trial,
    metrics: dict[str, Any],
    y_true: np.ndarray,
    y_pred: np.ndarray,
) -> None:
    (output_dir / "config.yaml").write_text(yaml.safe_dump(as_dict(cfg)))
    info = {"trial_number": trial.number, "params": trial.params, "score": metrics["val_mse"]}
    (output_dir / "trial_info.yaml").write_text(yaml.safe_dump(info))
    (output_dir / "metrics.json").write_text(json.dumps(metrics))
    np.save(output_dir / "y_true.npy", y_true)
    np.save(output_dir / "y_pred.npy", y_pred)
    plt.figure(figsize=(8, 5))
    plt.plot(metrics["train_losses"], label="train")
    plt.plot(metrics["val_losses"], label="validation")
    plt.xlabel("epoch")
    plt.ylabel("loss")
    plt.legend()
    plt.savefig(output_dir / "learning_curves.png")
    plt.close()
    n_targets = y_true.shape[1]
    figure, panels = plt.subplots(1, n_targets, figsize=(4 * n_targets, 4))
    for k, axes in enumerate(np.atleast_1d(panels)):
        axes.scatter(y_true[:, k], y_pred[:, k], s=8)
        axes.set(xlabel="true", ylabel="predicted", title=f"target {k}")
    figure.savefig(output_dir / "evaluation_plots" / "prediction_vs_truth.png")
    plt.close(figure)


def objective(trial: optuna.Trial, settings: dict[str, Any], base: Config, space: Any) -> float:
    cfg = suggest_hyperparameters(trial, base, space)
    output_dir = create_trial_output_dir(Path(settings["outputs_root"]))
    torch.manual_seed(cfg.training.seed)
    np.random.seed(cfg.training.seed)  # noqa: NPY002 - as the specification has it
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parts = load_parts(settings, cfg)
        loaders = {
            part: DataLoader(
                TensorDataset(x, t), batch_size=cfg.training.batch_size, shuffle=part == "train"
            )
            for part, (x, t) in parts.items()
        }
        x_sample, n_targets = parts["train"][0][:1], parts["train"][1].shape[1]
        model = create_model(cfg, x_sample, n_targets, device)
        criterion: nn.Module = nn.MSELoss()
        if cfg.training.use_weighted_loss:
            weights = [getattr(cfg.training, f"weight_target_{k}") for k in range(n_targets)]
            criterion = WeightedMSELoss(weights=weights).to(device)
        optimizer = torch.optim.Adam(
            model.parameters(),
            lr=cfg.training.learning_rate,
            weight_decay=cfg.training.weight_decay,
        )
        train_losses, val_losses = [], []
        for epoch in range(1, cfg.training.epochs + 1):
            train_losses.append(
                train_one_epoch(model, loaders["train"], criterion, optimizer, device)
            )
            val_mse = evaluate(model, loaders["val"], device)[0]
            val_losses.append(val_mse)
            trial.report(val_mse, step=epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        test_mse, test_mae, y_pred, y_true = evaluate(model, loaders["test"], device)
        torch.save(model.state_dict(), output_dir / "weights" / "model_simplecnn_real.pth")
        metrics = {
            "val_mse": min(val_losses),
            "test_mse": test_mse,
            "test_mae": test_mae,
            "r2": [float(r2_score(y_true[:, k], y_pred[:, k])) for k in range(n_targets)],
            "train_losses": train_losses,
            "val_losses": val_losses,
        }
        save_trial_results(output_dir, cfg, trial, metrics, y_true, y_pred)
        return float(metrics["val_mse"])
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def write_trials(study: optuna.Study, root: Path) -> None:
    """Write when each trial ended, and how, for ``against_plain.py``: of both sides."""
    trials = [
        {
            "seconds": trial.datetime_complete.timestamp(),
            "score": trial.value,
            "state": trial.state.name,
            "params": trial.params,
            "epochs": len(trial.intermediate_values),
        }
        for trial in study.trials
        if trial.datetime_complete is not None
    ]
    (root / "trials.json").write_text(json.dumps(trials))


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    root = Path(settings["outputs_root"])
    root.mkdir(parents=True)
    n_targets = np.load(settings["t_train"], mmap_mode="r").shape[1]
    base = with_target_weights(
        load_config(settings["params_file"], settings["overrides"]), n_targets
    )
    space = load_search_space(base, n_targets)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if settings["prune"]:
        pruner = optuna.pruners.MedianPruner(base.study.n_startup_trials, base.study.n_warmup_steps)
    study = optuna.create_study(
        study_name="plain",
        storage=f"sqlite:///{root}/study.db",
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=settings["seed"]),
        pruner=pruner,
    )
    for configuration in settings["configurations"]:
        study.enqueue_trial(configuration)
    study.optimize(
        lambda trial: objective(trial, settings, base, space), n_trials=settings["n_trials"]
    )
    write_trials(study, root)


if __name__ == "__main__":
    main()
