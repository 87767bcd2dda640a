"""Other splits of the same data: at random regardless of groups, or into folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hpo_utils.base.config import Config, updated
from hpo_utils.base.errors import DataError
from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.prepared import POOLED, PreparedData, Redealt, redealt

SEED = 0  # of the shuffle
FOLD = "data_split.fold"


def split_at_random(data: PreparedData) -> Redealt:
    """Return the data with training and validation samples dealt out one by one."""
    n_train, n_val = (data.manifest["n_samples"][part] for part in POOLED)
    order = np.random.default_rng(SEED).permutation(n_train + n_val)
    rows = {"train": np.sort(order[:n_train]), "val": np.sort(order[n_train:])}
    return redealt(data, rows, "random-split")


@dataclass(frozen=True)
class FoldedData(PreparedData):
    """Prepared data of one fold, together with other folds, each prepared on its own."""

    folds: dict[int, PreparedData]

    def used_by(self, cfg: Config) -> PreparedData:
        """Return the fold that a training with ``cfg`` uses."""
        return self.folds[cfg.data_split.fold].used_by(cfg)


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
