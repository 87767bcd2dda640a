"""Prepared data: made once from the source arrays and shared by all trials and workers.

``<outputs_root>/data/<dataset id>/`` holds, for each part of the split, the inputs ``x_<part>.npy``
(float32, standardised per channel, without excluded channels), the targets ``t_<part>.npy`` in
their units, the sample numbers ``index_<part>.npy`` and, if they are given, the group numbers
``group_<part>.npy`` and the weights ``weight_<part>.npy``. It also holds a
``manifest.json``. Statistics come from the training part
alone. The source is read in pieces, so memory use stays small.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.base.errors import ConfigError, DataError
from hpo_utils.base.paths import read_mapping
from hpo_utils.base.settings import DataSplitConfig
from hpo_utils.data.labels import labelled_physics
from hpo_utils.data.physics import Physics
from hpo_utils.data.scaling import Standardizer, thinned
from hpo_utils.data.split import PARTS, further_folds, time_blocks
from hpo_utils.data.whole import is_whole

MANIFEST_VERSION = 2
POOLED = ("train", "val")  # parts that may be dealt out anew
FEW = 50  # samples: a smaller validation part says too little, so that others validate in turn
ENOUGH, MOST = 150, 5  # samples that validate then, if so many folds suffice


@dataclass(frozen=True)
class PreparedData:
    """Prepared arrays on disk, with their manifest."""

    directory: Path
    manifest: dict[str, Any]

    @property
    def dataset_id(self) -> str:
        """Name of the data, followed by a digest of their content and settings."""
        return str(self.manifest["id"])

    @property
    def target_names(self) -> list[str]:
        """Names of the targets."""
        return list(self.manifest["target_names"])

    @property
    def target_units(self) -> list[str]:
        """Units of the targets, '-' for targets without a unit."""
        return list(self.manifest["target_units"])

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return len(self.target_names)

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of the inputs in the source."""
        return tuple(self.manifest["sources"][0]["shape"])

    @property
    def n_train(self) -> int:
        """Number of training samples."""
        return int(self.manifest["n_samples"]["train"])

    @property
    def n_bytes(self) -> int:
        """Size of the inputs of all parts in bytes."""
        n_samples = sum(self.manifest["n_samples"].values())
        n_values: int = n_samples * math.prod(self.manifest["sample_shape"])
        return n_values * np.dtype(np.float32).itemsize

    @cached_property
    def target_scaler(self) -> Standardizer:
        """Scaler of the targets, fitted on the training part."""
        scaler = self.manifest["target_scaler"]
        logarithmic = tuple(self.manifest.get("logarithmic", []))
        return Standardizer(np.array(scaler["mean"]), np.array(scaler["std"]), logarithmic)

    @property
    def used_channels(self) -> list[str]:
        """Names of the channels used for training."""
        return [self.manifest["channel_names"][i] for i in self.manifest["channels"]]

    @cached_property
    def physics(self) -> Physics:
        """Rules known for the targets."""
        return labelled_physics(self.manifest)

    def input_shape(self, part: str, downsample_factor: int = 1) -> tuple[int, ...]:
        """Return the shape of the inputs of a part."""
        n_channels, n_rows, *others = self.manifest["sample_shape"]
        n_kept = math.ceil(n_rows / downsample_factor)
        return self.manifest["n_samples"][part], n_channels, n_kept, *others

    def inputs(
        self,
        part: str,
        downsample_factor: int = 1,
        samples: slice = slice(None),
        averaged: bool = False,
    ) -> NDArray[np.float32]:
        """Return standardised inputs of a part, memory-mapped unless they are averaged.

        The mapping is writable, as PyTorch expects of tensors, but the file never changes.

        Parameters
        ----------
        part
            ``train``, ``val`` or ``test``.
        downsample_factor
            One row of H (or L) for so many.
        samples
            Slice of the samples of the part.
        averaged
            Whether that row is the mean of the many, or else the first of them.

        Returns
        -------
        float32 array of shape (n_samples, n_channels, H, W) or (n_samples, n_channels, L)
        """
        found: NDArray[np.float32] = thinned(
            self._samples(part, samples), downsample_factor, averaged
        )
        return found

    def _samples(self, part: str, samples: slice) -> NDArray[np.float32]:
        """Return standardised inputs of a part, memory-mapped."""
        x = np.load(self.directory / f"x_{part}.npy", mmap_mode="c", allow_pickle=False)
        return np.asanyarray(x[samples])

    def targets(self, part: str) -> NDArray[np.float32]:
        """Return the targets of a part in their units, of shape (n_samples, n_targets)."""
        return self._rows("t", part)

    def all_targets(self) -> NDArray[np.float32]:
        """Return the targets of all parts, in the order of the source."""
        order = np.argsort(np.concatenate([self.sample_numbers(part) for part in PARTS]))
        joined: NDArray[np.float32] = np.concatenate([self.targets(part) for part in PARTS])
        return joined[order]

    def sample_numbers(self, part: str) -> NDArray[np.int64]:
        """Return the positions of a part's samples in the source."""
        return self._rows("index", part)

    def groups(self, part: str) -> NDArray[np.int64] | None:
        """Return the group number of each sample of a part; None if no groups are given."""
        if self.manifest["n_groups"] is None:
            return None
        return self._rows("group", part)

    def weights(self, part: str) -> NDArray[np.float32] | None:
        """Return how much each sample of a part counts; None if all count alike.

        The mean over the training part is one.
        """
        return self._rows("weight", part) if self.manifest.get("weighted") else None

    def _rows(self, kind: str, part: str) -> NDArray[Any]:
        """Load the array of a kind that has one row for each sample of a part."""
        rows: NDArray[Any] = np.load(self.directory / f"{kind}_{part}.npy", allow_pickle=False)
        return rows

    @property
    def group_names(self) -> dict[int, str]:
        """Ids of the groups in the source, by their number here."""
        return dict(enumerate(self.manifest.get("group_ids", [])))

    def independent_units(self, part: str) -> NDArray[np.int64] | None:
        """Return the number of the independent unit that each sample of a part belongs to.

        Confidence intervals of errors need units that err independently. These are the groups;
        without groups they are blocks if the split is by time, otherwise the samples (None).
        """
        groups = self.groups(part)
        if groups is not None or self.manifest["settings"]["data_split"]["method"] != "time":
            return groups
        return time_blocks(int(self.manifest["n_samples"][part]))

    def as_given(self) -> PreparedData:
        """Return the data as they were split, if they are dealt out anew."""
        return self

    def used_by(self, cfg: Config) -> PreparedData:
        """Return the data that a training with ``cfg`` uses; subclasses choose a fold."""
        number = cfg.data_split.val_fold
        if not number:
            return self
        folds = self.race_folds(cfg)
        if number >= len(folds):
            raise ConfigError(
                f"data_split.val_fold must be one of the {len(folds)} parts that validate, counted"
                f" from 0, got {number}: evaluation.score_folds or race_folds says how many do"
            )
        return folds[number]

    @property
    def _has_numbered_folds(self) -> bool:
        """Whether ``dataset.split`` numbers folds."""
        settings = self.manifest["settings"]
        return "split" in settings["dataset"] and bool(settings["data_split"].get("n_folds"))

    def _n_val_folds(self, cfg: Config) -> int:
        """Return how many parts are to validate: ``evaluation.score_folds``, or as few data need.

        A split by time has one, unless more are asked for: earlier folds have fewer samples to
        train on. So have folds that came with the data, which more would divide.
        """
        n_train, n_val = (int(self.manifest["n_samples"][part]) for part in POOLED)
        asked, settings = cfg.evaluation.score_folds, self.manifest["settings"]
        if self._has_numbered_folds:
            if asked not in (None, 1):
                raise DataError(
                    "evaluation.score_folds must be 1 or null where dataset.split numbers folds,"
                    f" which more validation parts would divide, got {asked}"
                )
            return 1
        if asked is None:
            by_time = settings["data_split"]["method"] == "time"
            asked = min(MOST, math.ceil(ENOUGH / n_val)) if n_val < FEW and not by_time else 1
        return max(1, min(asked, 1 + n_train // n_val))

    def val_folds(self, cfg: Config) -> list[PreparedData]:
        """Return the data by the part that validates in its turn, first as they are split."""
        return self._dealt(self._n_val_folds(cfg))

    def race_folds(self, cfg: Config) -> list[PreparedData]:
        """Return the data by the part that validates for a seed of the race, as ``val_folds``.

        Where one part validates in the search, ``evaluation.race_folds`` may say that more do here,
        but not if the split is by time or numbers folds.
        """
        n_train, n_val = (int(self.manifest["n_samples"][part]) for part in POOLED)
        n_folds, method = self._n_val_folds(cfg), self.manifest["settings"]["data_split"]["method"]
        if n_folds == 1 and method != "time" and not self._has_numbered_folds:
            n_folds = min(cfg.evaluation.race_folds or 1, 1 + n_train // n_val)
        return self._dealt(n_folds)

    def _dealt(self, n_folds: int) -> list[PreparedData]:
        """Return the data by so many parts that validate, of about the same size."""
        if n_folds == 1:
            return [self]
        split = DataSplitConfig(**self.manifest["settings"]["data_split"])
        n_train, n_val = (int(self.manifest["n_samples"][part]) for part in POOLED)
        found = further_folds(n_train, n_val, n_folds - 1, split, self.groups("train"))
        further = (redealt(self, r, f"fold-{k}-of-{n_folds}") for k, r in enumerate(found, 1))
        return [self, *further]


@dataclass(frozen=True)
class Redealt(PreparedData):
    """Training and validation part of prepared data, pooled and dealt out anew.

    The scalers stay the same, so scores remain comparable.

    Parameters
    ----------
    given
        The manifest of the data as they were split.
    rows
        Sorted rows of the pool that make up the new ``train`` and ``val``.
    mark
        What the name of the data gets as an ending.
    """

    given: dict[str, Any]
    rows: Mapping[str, NDArray[np.int64]]
    mark: str

    @property
    def dataset_id(self) -> str:
        """Name of the data, marked as dealt out anew."""
        return f"{super().dataset_id}-{self.mark}"

    def used_by(self, cfg: Config) -> PreparedData:
        """Return these data: they are not dealt out once more."""
        return self

    def as_given(self) -> PreparedData:
        """Return the data as they were split."""
        return PreparedData(self.directory, self.given)

    def _samples(self, part: str, samples: slice) -> NDArray[np.float32]:
        """Return standardised inputs of a part, of a new one loaded into memory."""
        if part not in self.rows:
            return super()._samples(part, samples)
        sources = [super(Redealt, self)._samples(p, slice(None)) for p in POOLED]
        return _gather(sources, self.rows[part][samples])

    def _rows(self, kind: str, part: str) -> NDArray[Any]:
        """Return an array with one row per sample of a part."""
        if part not in self.rows:
            return super()._rows(kind, part)
        return _gather([super(Redealt, self)._rows(kind, p) for p in POOLED], self.rows[part])


@dataclass(frozen=True)
class Judged(Redealt):
    """Data whose validation part joins those of several folds, and all of the pool trains.

    Each sample of the validation part must be predicted by models of its own fold, which have not
    seen it. ``folds`` holds the data by their number.
    """

    folds: Mapping[int, PreparedData]

    def places(self, number: int) -> NDArray[np.int64]:
        """Return the positions of a fold's validation samples in that of these data."""
        return np.searchsorted(self.rows["val"], _val_rows(self.folds[number]))


def redealt(data: PreparedData, rows: Mapping[str, NDArray[np.int64]], mark: str) -> Redealt:
    """Return ``data`` with these rows of the pooled training and validation part in each."""
    return Redealt(data.directory, _with_sizes(data.manifest, rows), data.manifest, rows, mark)


def judged_on(data: PreparedData, cfg: Config, numbers: Iterable[int]) -> PreparedData:
    """Return the data to judge trainings on that left out these of ``data.race_folds``."""
    used = sorted(set(numbers))
    if used == [0]:
        return data
    folds = data.race_folds(cfg)
    n_pooled = sum(int(data.manifest["n_samples"][part]) for part in POOLED)
    val = np.sort(np.concatenate([_val_rows(folds[number]) for number in used]))
    rows = {"train": np.arange(n_pooled), "val": val}
    mark = f"folds-{'-'.join(map(str, used))}-of-{len(folds)}"
    manifest, kept = _with_sizes(data.manifest, rows), {number: folds[number] for number in used}
    return Judged(data.directory, manifest, data.manifest, rows, mark, kept)


def _val_rows(fold: PreparedData) -> NDArray[np.int64]:
    """Return the rows of the pool that a fold validates on."""
    if isinstance(fold, Redealt):
        return fold.rows["val"]
    n_train, n_val = (int(fold.manifest["n_samples"][part]) for part in POOLED)
    return n_train + np.arange(n_val)


def _with_sizes(manifest: dict[str, Any], rows: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """Return the manifest with the sizes of parts that are dealt out anew."""
    sizes = {part: len(rows[part]) for part in POOLED}
    return {**manifest, "n_samples": {**manifest["n_samples"], **sizes}}


def _gather(sources: list[NDArray[Any]], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return sorted ``rows`` of two arrays, one behind the other, without joining them."""
    n_first = len(sources[0])
    first = np.searchsorted(rows, n_first)
    gathered = np.empty((len(rows), *sources[0].shape[1:]), sources[0].dtype)
    gathered[:first] = sources[0][rows[:first]]
    gathered[first:] = sources[1][rows[first:] - n_first]
    return gathered


def as_given_id(dataset_id: str) -> str:
    """Return the id of the data as they were split, of data that may be dealt out anew."""
    return re.sub(r"-fold-\d+-of-\d+$", "", dataset_id)


def load_prepared(outputs_root: Path, dataset_id: str) -> PreparedData:
    """Return data prepared earlier, by their id, even if their source has changed or is gone.

    Raises
    ------
    DataError
        If the prepared data are missing or damaged.
    """
    directory = outputs_root / "data" / dataset_id
    manifest = read_mapping(directory / "manifest.json") or {}
    try:
        whole = is_whole(directory, manifest)
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise DataError(
            f"the prepared data {dataset_id!r} must lie in {directory}, but are missing or damaged:"
            " run notebooks/01_prepare_data.ipynb with the same params_file"
        )
    return PreparedData(directory, manifest)


def input_scaler(manifest: dict[str, Any]) -> Standardizer:
    """Return the scaler of the channels used for training."""
    statistics, channels = manifest["channel_statistics"], manifest["channels"]
    mean, std = (np.array([statistics[key][i] for i in channels]) for key in ("mean", "std"))
    return Standardizer(mean, std)
