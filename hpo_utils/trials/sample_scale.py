"""Batch sizes and epochs that fit the number of samples.

A params file names batch sizes and epochs for about a thousand training samples. With ten thousand,
such a training takes ten times as long and learns little more: batches as large as the square root
of the number of samples, and epochs as few, keep the number of steps (after Smith et al., "Don't
decay the learning rate, increase the batch size", ICLR 2018, for the gradient's noise).
"""

from __future__ import annotations

import math
from typing import Any

from hpo_utils.base.config import Config, select, updated

MEANT_FOR = 1500  # samples, of which about a thousand train
BATCH, EPOCHS = "training.batch_size", "training.epochs"
IN_EPOCHS = {EPOCHS: 1, "training.patience": 3, "study.n_warmup_steps": 2}  # with the least value


def batch_scale(n_samples: int) -> int:
    """Return the power of two by which batches grow with ``n_samples`` in all parts."""
    return int(2 ** round(math.log2(max(1.0, n_samples / MEANT_FOR)) / 2))


def fitted_to_samples(cfg: Config, n_samples: int) -> Config:
    """Return a copy whose batches and epochs fit, if ``study.batch_scale`` is not given.

    Settings named in ``study.fixed`` keep their values. ``n_samples`` is the number of samples in
    the source.
    """
    if cfg.study.batch_scale is not None:
        return cfg
    scale = batch_scale(min(n_samples, cfg.dataset.limit or n_samples))
    fitted = {
        key: _fewer(given, scale, least)
        for key, least in IN_EPOCHS.items()
        if (given := select(cfg, key)) is not None
    }
    fitted[BATCH] = cfg.training.batch_size * scale
    kept = {key: value for key, value in fitted.items() if key not in cfg.study.fixed}
    return updated(cfg, {**kept, "study.batch_scale": scale})


def fitted_entry(name: str, entry: Any, scale: int | None) -> Any:
    """Return an entry of the search space whose values fit, if it is one of batches or epochs."""
    if name not in (BATCH, EPOCHS) or not scale or scale == 1 or not isinstance(entry, dict):
        return entry
    return {
        key: _fitted_value(name, value, scale)
        for key, value in entry.items()
        if not (name == EPOCHS and key == "step")
    }


def _fitted_value(name: str, value: Any, scale: int) -> Any:
    """Return a bound or choices that fit; anything that is no whole number stays as it is."""
    if isinstance(value, list):
        return list(dict.fromkeys(_fitted_value(name, each, scale) for each in value))
    if type(value) is not int:
        return value
    return value * scale if name == BATCH else _fewer(value, scale, 1)


def _fewer(epochs: int, scale: int, least: int) -> int:
    return max(min(least, epochs), round(epochs / scale))
