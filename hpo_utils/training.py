"""One training: tensors in, the weights of the best epoch and its score out.

The same function serves a training by hand (``02_train``) and every trial of a study.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from hpo_utils.config import Config, with_target_weights
from hpo_utils.data import PreparedData, prepare_data
from hpo_utils.devices import (
    release_memory,
    seed_everything,
    select_device,
    set_threads,
    several_gpus,
)
from hpo_utils.errors import DivergenceError
from hpo_utils.looks import note_look
from hpo_utils.losses import WeightedMSELoss
from hpo_utils.models import create_network, evaluation_batch, predict
from hpo_utils.physics import in_units, kept_physics
from hpo_utils.trial_files import (
    TrialRecord,
    TrialResult,
    create_trial_output_dir,
    save_trial_results,
)
from hpo_utils.yardstick import Yardstick, create_yardstick

ParamList = tuple[Tensor, ...] | list[Tensor]
OnEpoch = Callable[[int, float], None]  # (epoch from 1, score); may raise to end the training


@dataclass
class Part:
    """One part of the split on the device.

    ``x`` of shape (n_samples, n_channels, L) or (n_samples, n_channels, H, W), standardised;
    ``z`` of shape (n_samples, n_targets), standardised.
    """

    x: Tensor
    z: Tensor


def train_trial(
    cfg: Config,
    output_dir: Path,
    data: PreparedData,
    on_epoch: OnEpoch | None = None,
    identity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train once as ``cfg`` says and write everything to ``output_dir``.

    Parameters
    ----------
    cfg
        A complete configuration.
    output_dir
        A directory from ``create_trial_output_dir``.
    data
        The prepared data.
    on_epoch
        Called after each epoch with the epoch's number (from 1) and score; may raise
        ``optuna.TrialPruned`` to end the training.
    identity
        Written to ``trial_info.yaml`` as it is: trial number, study, parameters.

    Returns
    -------
    dict
        The content of ``metrics.json``: ``score`` is that of ``evaluation.score`` on the validation
        part at ``best_epoch``, whose weights are the ones kept.

    Raises
    ------
    DivergenceError
        If the loss becomes NaN or infinite.
    """
    cfg = with_target_weights(cfg, data.n_targets)
    device = select_device(cfg.training.device)
    # sums over other numbers of threads round differently, so the saved configuration names theirs
    cfg.training.n_threads = set_threads(cfg.training.n_threads)
    known = {**(identity or {}), "dataset_id": data.dataset_id, "device": str(device)}
    with TrialRecord(output_dir, cfg, known) as record:
        seed_everything(cfg.training.seed)
        result = _fit_and_predict(cfg, data, device, record, on_epoch)
        record.score = result.score
        return save_trial_results(output_dir, result, record.history, data)


def train_by_hand(cfg: Config) -> tuple[Path, dict[str, Any]]:
    """Prepare the data if nobody has, train once, and return where and with which metrics.

    Data and device are checked before a directory is made.
    """
    data = prepare_data(cfg)
    device = select_device(cfg.training.device)
    output_dir = create_trial_output_dir(cfg.paths.outputs_root)
    try:
        return output_dir, train_trial(cfg, output_dir, data)
    finally:
        release_memory(device)


def train_one_epoch(
    model: nn.Module,
    part: Part,
    batches: list[Tensor],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    after_step: Callable[[], None] | None = None,
) -> float:
    """Make one pass over the training part and return the mean loss per sample.

    ``batches`` are index tensors of shape (batch_size,); ``after_step`` is called after each.
    """
    model.train()
    total = torch.zeros((), device=part.x.device)
    for batch in batches:
        optimizer.zero_grad()
        loss = criterion(model(part.x[batch]), part.z[batch])
        loss.backward()
        optimizer.step()
        if after_step is not None:
            after_step()
        total += loss.detach() * len(batch)  # stays on the device: no wait for each step
    return float(total) / sum(len(batch) for batch in batches)


def evaluate(
    model: nn.Module, part: Part, criterion: nn.Module, yardstick: Yardstick, batch_size: int
) -> tuple[float, float]:
    """Return loss and score of a part, evaluated without gradients, ``batch_size`` at a time.

    The loss is that of the training; the score is what the yardstick says, the same for every
    trial.
    """
    z_pred = predict(model, part.x, batch_size)
    return float(criterion(z_pred, part.z)), float(yardstick(z_pred, part.z))


def create_criterion(cfg: Config, n_targets: int) -> nn.Module:
    """Return ``WeightedMSELoss`` with the weights of the configuration, or plain MSE."""
    if not cfg.training.use_weighted_loss:
        return nn.MSELoss()
    weights = [float(getattr(cfg.training, f"weight_target_{k}")) for k in range(n_targets)]
    return WeightedMSELoss(weights)


def _fit_and_predict(
    cfg: Config,
    data: PreparedData,
    device: torch.device,
    record: TrialRecord,
    on_epoch: OnEpoch | None,
) -> TrialResult:
    """Train, return to the best epoch, predict the validation part and, unless shut, the test."""
    train, val = (_load_part(data, part, cfg, device) for part in ("train", "val"))
    model = create_network(cfg, train.x, data.target_scaler, data.physics, device)
    if train.x.ndim == 4:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion = create_criterion(cfg, data.n_targets).to(device)
    yardstick = create_yardstick(cfg, data.target_names, data.targets("val"))
    batch_size = evaluation_batch(cfg, train.x)

    def validate(kept: nn.Module) -> tuple[float, float]:
        return evaluate(kept, val, criterion, yardstick, batch_size)

    best_epoch, score = _fit(cfg, model, criterion, train, validate, record, on_epoch)
    predictions = {"val": predict(model, val.x, batch_size)}
    if not cfg.evaluation.strict_test:
        test = _load_part(data, "test", cfg, device)
        predictions["test"] = predict(model, test.x, batch_size)
        by_hand = "trial_number" not in record.identity
        place = "/".join(record.output_dir.parts[-2:])
        note_look(data, place, "by hand" if by_hand else "trial")
    return TrialResult(
        score=score,
        score_name=yardstick.name,
        best_epoch=best_epoch,
        state_dict={name: value.cpu() for name, value in model.state_dict().items()},
        truth={part: data.targets(part) for part in predictions},
        predictions={
            part: in_units(z.cpu().numpy(), data.target_scaler, kept_physics(cfg, data.physics))
            for part, z in predictions.items()
        },
        n_parameters=sum(p.numel() for p in model.parameters()),
    )


def _fit(
    cfg: Config,
    model: nn.Module,
    criterion: nn.Module,
    train: Part,
    validate: Callable[[nn.Module], tuple[float, float]],
    record: TrialRecord,
    on_epoch: OnEpoch | None,
) -> tuple[int, float]:
    """Run the epochs, leave the best epoch's weights in ``model``, return (epoch, score).

    ``validate`` returns a model's loss and score on the validation part.
    """
    spread = several_gpus(train.x.device, cfg.training.batch_size)
    trained = nn.DataParallel(model) if spread else model
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=cfg.training.learning_rate,
        weight_decay=cfg.training.weight_decay,
        fused=train.x.device.type in ("cpu", "cuda"),
    )
    average = create_average(model, cfg, len(train.x))
    kept = model if average is None else average.module
    shuffle = torch.Generator().manual_seed(cfg.training.seed)  # batches only: nothing else draws
    best_epoch, best_score = 0, math.inf
    best_state: dict[str, Tensor] = {}
    for epoch in range(1, cfg.training.epochs + 1):
        batches = make_batches(len(train.x), cfg.training.batch_size, shuffle, train.x.device)
        train_loss = train_one_epoch(
            trained, train, batches, criterion, optimizer,
            None if average is None else lambda: average.update_parameters(model),
        )  # fmt: skip
        val_loss, score = validate(kept)
        record.log_epoch(epoch, train_loss, val_loss, score)
        if not (math.isfinite(train_loss) and math.isfinite(score)):
            raise DivergenceError(
                f"the loss must stay finite, but epoch {epoch} gave training loss {train_loss} and"
                f" score {score}: lower training.learning_rate ({cfg.training.learning_rate:g})"
            )
        if score < best_score:
            best_epoch, best_score = epoch, score
            best_state = copy.deepcopy(kept.state_dict())
        if on_epoch is not None:
            on_epoch(epoch, score)
    model.load_state_dict(best_state)
    return best_epoch, best_score


def create_average(model: nn.Module, cfg: Config, n_samples: int) -> AveragedModel | None:
    """Return an exponential moving average of the weights, which validates and is kept.

    The weights of single steps jump with every batch, and so do their scores; their average over
    about ``training.averaging_epochs`` moves smoothly and predicts better (Polyak and Juditsky,
    SIAM J. Control Optim. 30 (1992) 838-855). The window grows from the first step on, so that the
    random start is forgotten soon.
    """
    n_steps = cfg.training.averaging_epochs * n_samples / cfg.training.batch_size
    if n_steps <= 1.0:
        return None

    steps = itertools.count(1)  # not the model's own counter, which may wait for the GPU

    def average(kept: ParamList, current: ParamList, _: Tensor | int) -> None:
        if torch.is_floating_point(kept[0]):
            torch._foreach_lerp_(kept, current, max(1.0 / n_steps, 9.0 / (10.0 + next(steps))))
        else:  # counters of batch normalisation
            torch._foreach_copy_(kept, current)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def make_batches(
    n_samples: int, batch_size: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Return shuffled sample indices in batches.

    A last batch of one sample is left out, since batch normalisation has no statistics of one; the
    next shuffle brings its sample back.
    """
    order = torch.randperm(n_samples, generator=generator).to(device)
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches.pop()
    return batches


def _load_part(data: PreparedData, part: str, cfg: Config, device: torch.device) -> Part:
    """Copy one part to the device; images in the channels_last layout, which convolves faster."""
    x = torch.from_numpy(np.array(data.inputs(part, cfg.dataset.downsample_factor))).to(device)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    z = torch.from_numpy(data.target_scaler.transform(data.targets(part))).to(device)
    return Part(x, z)
