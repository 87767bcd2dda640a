"""Other splits of the same data: at random regardless of groups, or into folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import DataError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import thinned

SEED = 0  # of the shuffle
FOLD = "data_split.fold"


@dataclass(frozen=True)
class RandomSplit(PreparedData):
    """Training and validation part of prepared data, pooled and split again sample by sample.

    Sizes and scalers stay the same, so scores remain comparable. The test part is not available.
    """

    @property
    def dataset_id(self) -> str:
        """Name of the data, marked as a random split."""
        return f"{super().dataset_id}-random-split"

    @cached_property
    def _dealt(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the two pooled parts that make up each new part."""
        n_train, n_val = (self.manifest["n_samples"][part] for part in ("train", "val"))
        order = np.random.default_rng(SEED).permutation(n_train + n_val)
        return {"train": np.sort(order[:n_train]), "val": np.sort(order[n_train:])}

    def inputs(
        self,
        part: str,
        downsample_factor: int = 1,
        samples: slice = slice(None),
        averaged: bool = False,
    ) -> NDArray[np.float32]:
        """Return the standardised inputs of a new part, loaded into memory."""
        sources = [super(RandomSplit, self).inputs(p) for p in ("train", "val")]
        return thinned(
            self._gather(sources, self._dealt[part][samples]), downsample_factor, averaged
        )

    def _rows(self, kind: str, part: str) -> NDArray[Any]:
        """Return an array with one row per sample of a new part."""
        sources = [super(RandomSplit, self)._rows(kind, p) for p in ("train", "val")]
        return self._gather(sources, self._dealt[part])

    def _gather(self, sources: list[NDArray[Any]], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return rows of the concatenated arrays of both old parts."""
        n_train = len(sources[0])
        first = np.searchsorted(rows, n_train)
        gathered = np.empty((len(rows), *sources[0].shape[1:]), sources[0].dtype)
        gathered[:first] = sources[0][rows[:first]]
        gathered[first:] = sources[1][rows[first:] - n_train]
        return gathered


@dataclass(frozen=True)
class FoldedData(PreparedData):
    """Prepared data of one fold, together with other folds, each prepared on its own."""

    folds: dict[int, PreparedData]

    def used_by(self, cfg: Config) -> PreparedData:
        """Return the fold that a training with ``cfg`` uses."""
        return self.folds[cfg.data_split.fold]


def prepare_folds(cfg: Config, data: PreparedData, wanted: Iterable[int]) -> FoldedData:
    """Prepare the wanted folds; ``data`` already holds fold ``data_split.fold``.

    Raises
    ------
    DataError
        If the arrays are missing, hold too few samples, or are not those that ``data`` came from.
    """
    folds = {}
    for fold in wanted:
        if fold == cfg.data_split.fold:
            folds[fold] = data
            continue
        folds[fold] = prepare_data(updated(cfg, {FOLD: fold}))
        if _content(folds[fold]) != _content(data):
            raise DataError(
                "the arrays must be those that the study was made on, but their content has changed"
                " since: run the search again"
            )
    return FoldedData(data.directory, data.manifest, folds)


def _content(data: PreparedData) -> list[str]:
    """Return the SHA-256 digests of the arrays that the data were made from."""
    return [source["sha256"] for source in data.manifest["sources"]]
