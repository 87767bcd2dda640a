"""Batch sizes, epochs, widths and thinning that fit the number and the size of the samples.

A params file names batch sizes and epochs for about a thousand training samples. With ten thousand,
such a training takes ten times as long and learns little more: batches as large as the square root
of the number of samples, and epochs as few, keep the number of steps (after Smith et al., "Don't
decay the learning rate, increase the batch size", ICLR 2018, for the gradient's noise).

Widths are meant for signals of a few hundred values and images of a hundred by a hundred. Where a
training would take hours, or a good part of the study's budget, networks get narrower, and the
search may thin the samples further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hpo_utils.base.config import Config, budget_seconds, select, updated

MEANT_FOR = 1500  # samples, of which about a thousand train
BATCH, EPOCHS = "training.batch_size", "training.epochs"
WIDTH, THINNING = "model.hidden", "dataset.downsample_factor"
IN_EPOCHS = {EPOCHS: 1, "training.patience": 3, "study.n_warmup_steps": 2}  # with the least value
# samples times epochs times places that most layers see times channels squared: a residual network
# with so much takes about five minutes on two cores
WORK, WORK_S = 3e11, 300.0
STEP_WORK = 3e6  # what a step takes beside, about 3 ms
MANY_ROWS = 10**9  # more than thinning could shorten too far
LEAST_ROWS = 8  # that thinning leaves, unless the search space says otherwise
IN_BUDGET = 10  # trainings that a budget should have time for, one after another
MOST_NARROWED, LEAST_WIDTH, MOST_SHORTENED = 8, 4, 16


def batch_scale(n_samples: int) -> int:
    """Return the power of two by which batches grow with ``n_samples`` in all parts."""
    return int(2 ** round(math.log2(max(1.0, n_samples / MEANT_FOR)) / 2))


def width_scale(cfg: Config, shape: Sequence[int]) -> int:
    """Return the power of two by which the networks are narrowed for arrays of this shape.

    ``shape`` is (n_samples, L), (n_samples, n_channels, L) or (n_samples, n_channels, H, W). It
    decides with the settings, not the speed of a machine, so that all that share a study agree.
    """
    needed = _work(cfg, shape) / _most_work(cfg)
    return int(min(MOST_NARROWED, 2 ** max(0, round(math.log(needed, 4)))))


def epoch_scale(cfg: Config, shape: Sequence[int]) -> int:
    """Return the power of two by which epochs are divided so that a budget holds some trainings.

    ``shape`` is as in ``width_scale``.
    """
    n_steps = shape[0] * cfg.training.epochs / cfg.training.batch_size
    needed = (_work(cfg, shape) + n_steps * STEP_WORK) / _most_work(cfg)
    return int(min(MOST_SHORTENED, 2 ** max(0, round(math.log2(needed)))))


def _most_work(cfg: Config) -> float:
    """Return the work that a training may take: five minutes, or its part of the budget."""
    return WORK * min(1.0, (budget_seconds(cfg) or math.inf) / IN_BUDGET / WORK_S)


def _work(cfg: Config, shape: Sequence[int]) -> float:
    """Return the work of a training, in the unit of ``WORK``."""
    size = shape[1:] if len(shape) == 2 else shape[2:]
    places = math.prod(size) / cfg.dataset.downsample_factor / 4 ** len(size)  # stem and pooling
    return float(shape[0] * cfg.training.epochs * places * cfg.model.hidden**2)


def fitted_to_data(cfg: Config, shape: Sequence[int]) -> Config:
    """Return a copy that fits, as far as the scales of batches, widths and epochs are not given.

    Settings named in ``study.fixed`` keep their values. ``shape`` is that of the inputs in the
    source.
    """
    n_samples = min(shape[0], cfg.dataset.limit or shape[0])
    if cfg.study.batch_scale is None:
        scale = batch_scale(n_samples)
        fitted = {**_shorter(cfg, scale), BATCH: cfg.training.batch_size * scale}
        cfg = _with(cfg, fitted, "study.batch_scale", scale)
    if cfg.study.width_scale is None:
        scale = width_scale(cfg, (n_samples, *shape[1:]))
        fitted = {WIDTH: _fewer(cfg.model.hidden, scale, LEAST_WIDTH)}
        cfg = _with(cfg, fitted, "study.width_scale", scale)
    if cfg.study.epoch_scale is None and cfg.study.budget is not None:
        scale = epoch_scale(cfg, (n_samples, *shape[1:]))
        cfg = _with(cfg, _shorter(cfg, scale), "study.epoch_scale", scale)
    return cfg


def _shorter(cfg: Config, scale: int) -> dict[str, int]:
    """Return what is counted in epochs, divided by ``scale``."""
    given = {key: select(cfg, key) for key in IN_EPOCHS}
    return {
        key: _fewer(value, scale, IN_EPOCHS[key])
        for key, value in given.items()
        if value is not None
    }


def _with(cfg: Config, fitted: dict[str, int], name: str, scale: int) -> Config:
    """Return a copy with the fitted settings that are not held, and the scale by its name."""
    kept = {key: value for key, value in fitted.items() if key not in cfg.study.fixed}
    return updated(cfg, {**kept, name: scale})


def fitted_entry(name: str, entry: Any, cfg: Config, n_rows: int = MANY_ROWS) -> Any:
    """Return an entry of the search space whose values fit; others stay as they are."""
    batches, widths = cfg.study.batch_scale or 1, cfg.study.width_scale or 1
    shorter = batches * (cfg.study.epoch_scale or 1)
    if not isinstance(entry, dict):
        return entry
    match name:
        case "training.batch_size":
            return _mapped(entry, lambda value: value * batches)
        case "training.epochs" if shorter > 1:
            kept = {key: value for key, value in entry.items() if key != "step"}
            return _mapped(kept, lambda value: _fewer(value, shorter, 1))
        case "model.hidden" if widths > 1:
            kept = {key: value for key, value in entry.items() if key != "step"}
            return _mapped(kept, lambda value: _fewer(value, widths, LEAST_WIDTH))
        case "dataset.downsample_factor" if type(entry.get("high")) is int:
            most = min(entry["high"] * widths, n_rows // LEAST_ROWS)
            return {**entry, "high": max(entry["high"], most)}
    return entry


def fitted_values(values: dict[str, Any], cfg: Config) -> dict[str, Any]:
    """Return settings by their dotted names, meant for the usual size of data, fitted as others."""
    batches, widths = cfg.study.batch_scale or 1, cfg.study.width_scale or 1
    shorter = batches * (cfg.study.epoch_scale or 1)
    changes: dict[str, Callable[[int], int]] = {
        BATCH: lambda value: value * batches,
        EPOCHS: lambda value: _fewer(value, shorter, 1),
        WIDTH: lambda value: _fewer(value, widths, LEAST_WIDTH),
    }
    return {
        name: changes[name](value) if name in changes and type(value) is int else value
        for name, value in values.items()
    }


def _mapped(entry: dict[str, Any], change: Callable[[int], int]) -> dict[str, Any]:
    """Return an entry with bounds and choices changed; what is no whole number stays as it is."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            fitted = [changed(each) for each in value]
            return [each for i, each in enumerate(fitted) if each not in fitted[:i]]
        return change(value) if type(value) is int else value

    return {key: value if key == "if" else changed(value) for key, value in entry.items()}


def _fewer(value: int, scale: int, least: int) -> int:
    return max(min(least, value), round(value / scale))
