"""Train one network: tensors in, the weights of the best epoch and its score out.

The same function serves a training by hand (``by_hand``) and every trial of a study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo_utils.base.config import Config, updated, with_target_weights
from hpo_utils.base.errors import DivergenceError, InfeasibleError
from hpo_utils.base.interrupts import raise_dropped
from hpo_utils.baselines.components import sight_of
from hpo_utils.data.physics import active_physics, in_units
from hpo_utils.data.prepared import PreparedData
from hpo_utils.network.augmentation import Augmentation
from hpo_utils.network.devices import (
    Compute,
    SharedOut,
    choose_compute,
    computing_in,
    seed_everything,
    several_gpus,
    using_threads,
)
from hpo_utils.network.losses import create_criterion
from hpo_utils.network.memory import is_out_of_memory, release_memory
from hpo_utils.network.models import create_network, evaluation_batch, predict
from hpo_utils.network.pretreatment import Pretreatment
from hpo_utils.network.with_views import WithViews
from hpo_utils.scores.yardstick import Yardstick, create_yardstick
from hpo_utils.training.averaging import WeightAverage
from hpo_utils.training.batches import (
    MicroBatches,
    PartTensors,
    count_batches,
    load_part,
    make_batches,
)
from hpo_utils.training.checkpoints import Checkpoint, TrainingState
from hpo_utils.training.optimizer import Adam
from hpo_utils.training.record import TrialRecord
from hpo_utils.training.results import TrialResult, save_trial_results
from hpo_utils.training.schedule import Schedule
from hpo_utils.training.stopping import Stop
from hpo_utils.training.test_looks import BY_HAND, TRIAL, note_look
from hpo_utils.training.timing import Effort, matrix_peak, training_flops

MAX_FITTED = 1000  # samples, or few more, that a pretreatment is fitted to
OnEpoch = Callable[[int, float], None]  # (epoch from 1, score); may raise to end the training


def train_trial(
    cfg: Config,
    output_dir: Path,
    data: PreparedData,
    on_epoch: OnEpoch | None = None,
    identity: Mapping[str, Any] | None = None,
    effort: Effort | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Train one network as ``cfg`` says and write all its files to ``output_dir``.

    If the directory holds the checkpoint of an interrupted training, the training resumes from it,
    and on a CPU ends with the same numbers as without the interruption.

    Parameters
    ----------
    cfg
        A complete configuration.
    output_dir
        A directory from ``create_trial_output_dir``, new or that of the interrupted training.
    data
        The prepared data.
    on_epoch
        Called after each epoch with the epoch's number (from 1) and score; may raise
        ``optuna.TrialPruned`` to end the training.
    identity
        Copied to ``trial_info.yaml``: trial number, study, parameters.
    effort
        Records the time that each phase takes.
    stop
        The stop conditions: the deadline is checked between steps, all of them after each epoch.

    Returns
    -------
    dict
        The content of ``metrics.json``: ``score`` is the value of ``evaluation.score`` on the
        validation part at ``best_epoch``, whose weights are kept.

    Raises
    ------
    DivergenceError
        If the loss becomes NaN or infinite.
    InfeasibleError
        If memory is too small for the data or for the smallest piece of a batch.
    StopRequest
        If a condition of ``stop`` holds; the training can be resumed later.
    """
    effort = Effort() if effort is None else effort
    compute = choose_compute(cfg, data.input_shape("train", cfg.dataset.downsample_factor)[1:])
    cfg = updated(with_target_weights(cfg, data.n_targets), compute.settings)
    known = {**(identity or {}), "dataset_id": data.dataset_id, "device": str(compute.device)}
    with using_threads(compute.n_threads), TrialRecord(output_dir, cfg, known, effort) as record:
        seed_everything(cfg.training.seed)
        try:
            result = _fit_and_predict(Training(cfg, data, compute, record, on_epoch, stop))
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            raise InfeasibleError(
                f"the training must fit into the memory of {compute.device}, but does not: lower"
                " model.hidden or raise dataset.downsample_factor"
            ) from None
        record.score = result.score
        with effort.spend("files"):
            return save_trial_results(output_dir, result, record.history, data)


@dataclass(frozen=True)
class Training:
    """The inputs of a training, which do not change while the network trains."""

    cfg: Config
    data: PreparedData
    compute: Compute
    record: TrialRecord
    on_epoch: OnEpoch | None
    stop: Stop | None


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Step:
    """The objects that every training step of an epoch uses.

    The network computes in ``precision``, the loss ``criterion`` in float32; ``before`` and
    ``after`` are called around each step. A batch that does not fit into memory is cut into
    ``pieces``, and so are all later batches.
    """

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer | Adam
    precision: torch.dtype = torch.float32
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing
    pieces: MicroBatches = field(default_factory=MicroBatches)
    augmentation: Augmentation | None = None


def train_one_epoch(step: Step, part: PartTensors, batches: list[Tensor]) -> float:
    """Make one pass over the training part and return the mean loss per sample.

    ``batches`` are index tensors of shape (batch_size,).

    Raises
    ------
    InfeasibleError
        If even the smallest piece, of two or three samples, does not fit into memory.
    """
    step.model.train()
    device = part.z.device
    total = torch.zeros((), device=device)
    for batch in batches:
        step.before()
        while (loss := _gradients(step, part, batch)) is None:
            release_memory(device)
        step.optimizer.step()
        step.after()
        total += loss * len(batch)  # stays on the device, so no step has to wait for it
    return float(total) / sum(len(batch) for batch in batches)


def _gradients(step: Step, part: PartTensors, batch: Tensor) -> Tensor | None:
    """Compute a batch's gradients into the model and return its loss.

    None if memory was too small: then ``step.pieces`` has become finer for another attempt.
    """
    step.optimizer.zero_grad()
    total = torch.zeros((), device=part.z.device)
    try:
        for piece in step.pieces.split(batch):
            inputs, z = part.batch(piece, step.augmentation)
            with computing_in(step.precision, z.device):
                z_pred = step.model(*inputs)
            loss = step.criterion(*part.weighted(z_pred.float(), z, piece))
            loss = loss * (len(piece) / len(batch))
            loss.backward()
            total += loss.detach()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if not step.pieces.halve(batch):
            raise InfeasibleError(
                f"{len(step.pieces.split(batch)[0])} samples of shape {tuple(part.x.shape[1:])}"
                f" must fit into the memory of {part.z.device} for a step of the training, but do"
                " not: lower model.hidden or raise dataset.downsample_factor"
            ) from None
        return None
    return total


def evaluate(
    model: nn.Module, part: PartTensors, criterion: nn.Module, yardstick: Yardstick, batch_size: int
) -> tuple[float, float]:
    """Return the loss and score of a part, without gradients, in batches of ``batch_size``.

    The loss is the training's own; the score is the yardstick's, which is the same for every trial.
    """
    z_pred = predict(model, part.x, batch_size, part.seen)
    loss = criterion(*part.weighted(z_pred, part.z))
    return float(loss), float(yardstick(z_pred, part.z, part.weights))


def _fit_and_predict(training: Training) -> TrialResult:
    """Train, restore the best epoch, and predict the validation and, if allowed, the test part.

    Scores and predictions are computed in float32, as in the model that users take home.
    """
    cfg, data, record = training.cfg, training.data, training.record
    device, precision = training.compute.device, training.compute.precision
    with record.effort.spend("data"):
        train, val = (load_part(data, part, cfg, device) for part in ("train", "val"))
        model = _create_model(cfg, data, train, device)
        val.look(model)
        criterion = create_criterion(cfg, data.n_targets).to(device)
        yardstick = create_yardstick(cfg, data.target_names, data.targets("val"))
        batch_size = evaluation_batch(cfg, train.x)
        record.effort.flops_per_epoch = len(train.x) * training_flops(model, train.x)
        record.effort.peak = matrix_peak(device, precision, torch.get_num_threads())

    def validate(evaluated: nn.Module) -> tuple[float, float]:
        return evaluate(evaluated, val, criterion, yardstick, batch_size)

    best_epoch, score = _fit(training, model, criterion, train, validate)
    with record.effort.spend("validate"):
        predictions = {"val": predict(model, val.x, batch_size, val.seen)}
        val_loss = float(criterion(*val.weighted(predictions["val"], val.z)))
        if not cfg.evaluation.strict_test:
            del train  # of many samples, memory holds no other part beside it
            test = load_part(data, "test", cfg, device)
            test.look(model)
            predictions["test"] = predict(model, test.x, batch_size, test.seen)
            by_hand = "trial_number" not in record.identity
            place = "/".join(record.output_dir.parts[-2:])
            note_look(data, place, BY_HAND if by_hand else TRIAL)
    return TrialResult(
        score=score,
        score_name=yardstick.name,
        best_epoch=best_epoch,
        val_loss=val_loss,
        state_dict={name: value.cpu() for name, value in model.state_dict().items()},
        truth={part: data.targets(part) for part in predictions},
        predictions={
            part: in_units(z.cpu().numpy(), data.target_scaler, active_physics(cfg, data.physics))
            for part, z in predictions.items()
        },
        n_parameters=sum(p.numel() for p in model.parameters()),
    )


def _create_model(
    cfg: Config, data: PreparedData, train: PartTensors, device: torch.device
) -> nn.Module:
    """Return the untrained network, which has seen the training part if it looks at views."""
    scaler, physics = data.target_scaler, data.physics
    model = create_network(cfg, train.x, scaler, physics, device, sight_of(cfg, data))
    for layer in model.modules():
        if isinstance(layer, Pretreatment):
            layer.fit(train.x[:: max(1, len(train.x) // MAX_FITTED)].to(device))
    train.look(model)
    if isinstance(model, WithViews) and train.seen is not None:
        model.begin_at_ridge(train.seen, train.z, data.groups("train"), data.weights("train"))
    return model


def _fit(
    training: Training,
    model: nn.Module,
    criterion: nn.Module,
    train: PartTensors,
    validate: Callable[[nn.Module], tuple[float, float]],
) -> tuple[int, float]:
    """Run the epochs, load the best epoch's weights into ``model``, return its (epoch, score).

    ``validate`` returns a model's loss and score on the validation part.
    """
    cfg, record, stop = training.cfg, training.record, training.stop
    device, effort = train.z.device, record.effort
    state = _begin(cfg, model, len(train.x), record)
    checkpoint = Checkpoint(record.output_dir, cfg.study.checkpoint_every_s)
    if checkpoint.restore(state):
        record.go_on(state.epoch)
    elif cfg.model.linear_start:  # the ridge regression itself may be the best
        state.begin_with(validate(model)[1])
    step = _create_step(training, state, criterion, device)
    while state.epoch < state.schedule.last_epoch:
        with effort.spend("train"):
            batches = make_batches(len(train.x), cfg.training.batch_size, state.shuffle, device)
            train_loss = train_one_epoch(step, train, batches)
        with effort.spend("validate"):
            val_loss, score = validate(state.evaluated_model)
        state.finish_epoch(score)
        record.pieces = state.pieces.count
        with effort.spend("files"):
            record.log_epoch(state.epoch, train_loss, val_loss, score)
        if not (math.isfinite(train_loss) and math.isfinite(score)):
            raise DivergenceError(_how_it_diverged(cfg, state.epoch, train_loss, score))
        if training.on_epoch is not None:
            with effort.spend("search"):
                training.on_epoch(state.epoch, score)
        with effort.spend("files"):
            if stop is not None and stop.reason():
                checkpoint.save(state)
                stop.check()
            checkpoint.save_if_due(state)
    model.load_state_dict(state.best_state)
    _check_weights(model)
    return state.best_epoch, state.best_score


def _create_step(
    training: Training, state: TrainingState, criterion: nn.Module, device: torch.device
) -> Step:
    """Return the training step that updates ``state``, on all GPUs if there are several."""
    precision, stop = training.compute.precision, training.stop

    def before() -> None:
        raise_dropped()
        state.schedule.before_step()
        if stop is not None:
            stop.check_deadline()

    return Step(
        SharedOut(state.model, precision) if several_gpus(device) else state.model,
        criterion,
        state.optimizer,
        precision,
        before,
        _nothing if state.average is None else state.average.update,
        state.pieces,
        Augmentation.of(training.cfg),
    )


def _how_it_diverged(cfg: Config, epoch: int, train_loss: float, score: float) -> str:
    """Return a sentence on what was not finite after an epoch, and what to do."""
    if math.isfinite(train_loss):
        return (
            f"the validation score must be finite, but epoch {epoch} gave {score} with a training"
            f" loss of {train_loss:.3g}: look for values in the validation part that are unlike all"
            " of the training part"
        )
    return (
        f"the loss must stay finite, but epoch {epoch} gave training loss {train_loss} and score"
        f" {score}: lower training.learning_rate ({cfg.training.learning_rate:g})"
    )


def _check_weights(model: nn.Module) -> None:
    """Raise ``DivergenceError`` if a weight is not finite; an unused one shows in no score."""
    for name, values in model.state_dict().items():
        if not torch.isfinite(values).all():
            raise DivergenceError(
                f"the weights must stay finite, but {name} of the best epoch is not: set"
                " training.precision=float32"
            )


def _begin(cfg: Config, model: nn.Module, n_samples: int, record: TrialRecord) -> TrainingState:
    """Return the initial state of a training."""
    optimizer = Adam(model.parameters(), cfg.training.learning_rate, cfg.training.weight_decay)
    return TrainingState(
        model=model,
        optimizer=optimizer,
        schedule=Schedule(cfg, optimizer, count_batches(n_samples, cfg.training.batch_size)),
        average=create_average(model, cfg, n_samples),
        # shuffles the batches only; nothing else draws from it
        shuffle=torch.Generator().manual_seed(cfg.training.seed),
        history=record.history,
        effort=record.effort,
    )


def create_average(model: nn.Module, cfg: Config, n_samples: int) -> WeightAverage | None:
    """Return the weight average over ``training.averaging_epochs``; None if at most one step."""
    n_steps = cfg.training.averaging_epochs * n_samples / cfg.training.batch_size
    return WeightAverage(model, n_steps) if n_steps > 1.0 else None
