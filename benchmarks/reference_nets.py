"""The project's networks beside references of the field, on two measured data sets.

    python benchmarks/reference_nets.py [--seeds 5]

ResNet-1D after Wang, Yan and Oates, "Time series classification from scratch with deep neural
networks" (IJCNN 2017), and InceptionTime's network after Fawaz et al., Data Min. Knowl. Discov. 34
(2020) 1936-1962, both with a linear head for regression. All are trained by the project's own loop
with the same settings, split and seeds; the 2-D network sees the channels as rows of an image.
"""

import argparse
import tempfile
import time

import numpy as np
import torch
from torch import nn

from hpo_utils.base.config import Config, load_config, updated
from hpo_utils.data.preparation import prepare_data
from hpo_utils.network.models import create_model
from hpo_utils.scores.metrics import target_metrics
from hpo_utils.training import train
from hpo_utils.training.directory import create_trial_output_dir

DATA = {
    "cranfield, by run": "params/cranfield.yaml",
    "tecator, by group": "params/tecator.yaml",
}


class ResNet1d(nn.Module):
    """Three blocks of three convolutions (7, 5 and 3 wide) with shortcuts, 64 to 128 channels."""

    def __init__(self, n_channels: int, n_targets: int) -> None:
        super().__init__()
        self.bodies, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        n_in = n_channels
        for n_out in (64, 128, 128):
            layers: list[nn.Module] = []
            for i, width in enumerate((7, 5, 3)):
                layers += [
                    nn.Conv1d(n_in if i == 0 else n_out, n_out, width, padding="same", bias=False),
                    nn.BatchNorm1d(n_out), nn.ReLU(),
                ]  # fmt: skip
            self.bodies.append(nn.Sequential(*layers[:-1]))
            self.shortcuts.append(
                nn.Sequential(nn.Conv1d(n_in, n_out, 1, bias=False), nn.BatchNorm1d(n_out))
            )
            n_in = n_out
        self.head = nn.Linear(n_in, n_targets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for body, shortcut in zip(self.bodies, self.shortcuts, strict=True):
            x = torch.relu(body(x) + shortcut(x))
        return self.head(x.mean(2))


class Inception(nn.Module):
    """Bottleneck, three convolutions (39, 19 and 9 wide) and a pooled path, 32 channels each."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(n_in, 32, 1, bias=False) if n_in > 1 else nn.Identity()
        width_in = 32 if n_in > 1 else 1
        self.convs = nn.ModuleList(
            nn.Conv1d(width_in, 32, k, padding="same", bias=False)
            for k in (39, 19, 9)  # odd, so that both sides are padded alike
        )
        self.pooled = nn.Sequential(
            nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(n_in, 32, 1, bias=False)
        )
        self.norm = nn.BatchNorm1d(128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = self.bottleneck(x)
        parts = [conv(small) for conv in self.convs] + [self.pooled(x)]
        return torch.relu(self.norm(torch.cat(parts, 1)))


class InceptionTime(nn.Module):
    """Six inception modules with a shortcut around every three."""

    def __init__(self, n_channels: int, n_targets: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Inception(n_channels if i == 0 else 128) for i in range(6))
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(n, 128, 1, bias=False), nn.BatchNorm1d(128))
            for n in (n_channels, 128)
        )
        self.head = nn.Linear(128, n_targets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, shortcut in enumerate(self.shortcuts):
            y = x
            for block in self.blocks[3 * i : 3 * i + 3]:
                y = block(y)
            x = torch.relu(y + shortcut(x))
        return self.head(x.mean(2))


class AsImage(nn.Module):
    """The project's 2-D network, which sees (B, C, L) as one image of C rows."""

    def __init__(self, cfg: Config, x: torch.Tensor, n_targets: int) -> None:
        super().__init__()
        self.network = create_model(cfg, x[:, None], n_targets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x[:, None])


NETWORKS = {
    "1-D residual": ({}, None),
    "1-D residual with statistics": ({"model.use_statistics": True}, None),
    "1-D plain": ({"model.use_residual": False}, None),
    "2-D residual": ({}, AsImage),
    "ResNet-1D": ({}, lambda cfg, x, n: ResNet1d(x.shape[1], n)),
    "InceptionTime": ({}, lambda cfg, x, n: InceptionTime(x.shape[1], n)),
}
REAL_CREATE = train.create_network


def train_once(cfg, data, make):
    """Train once, with another network in place of the configured one if ``make`` is given."""

    def create(cfg, x, scaler, physics, device):
        if make is None:
            return REAL_CREATE(cfg, x, scaler, physics, device)
        return make(cfg, x, len(scaler.mean))

    train.create_network = create
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    metrics = train.train_trial(cfg, output_dir, data)
    return metrics, np.load(output_dir / "y_pred.npy")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for title, params in DATA.items():
            settings = [f"paths.outputs_root={root}", "training.batch_size=32",
                        "training.learning_rate=2e-3", "data_split.n_folds=null"]  # fmt: skip
            cfg = load_config(params, settings)
            data = prepare_data(cfg)
            names = data.target_names
            print(f"\n{title}: mean ± standard deviation over {options.seeds} seeds")
            print(f"| network | parameters | seconds | score | {' | '.join(names)} | ensemble |")
            print("|---" * (len(names) + 5) + "|")
            for name, (changes, make) in NETWORKS.items():
                started, found, predictions = time.monotonic(), [], []
                for seed in range(options.seeds):
                    one = updated(cfg, {**changes, "training.seed": seed})
                    metrics, y_pred = train_once(one, data, make)
                    found.append(metrics)
                    predictions.append(y_pred)
                seconds = (time.monotonic() - started) / options.seeds
                scores = [m["score"] for m in found]
                cells = [name, f"{found[0]['n_parameters']:,}", f"{seconds:.0f}",
                         f"{np.mean(scores):.3f} ± {np.std(scores):.3f}"]  # fmt: skip
                for target in names:
                    r2 = [m["test_targets"][target]["r2"] for m in found]
                    cells.append(f"{np.mean(r2):.2f} ± {np.std(r2):.2f}")
                ensemble = target_metrics(data.targets("test"), np.mean(predictions, 0), names)
                cells.append(f"{np.mean([v['r2'] for v in ensemble.values()]):.3f}")
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
