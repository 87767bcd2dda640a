"""Which samples train, validate and test.

Recordings of one run are near-copies of each other: give them one group id and they stay in one
part, else the test score measures memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.config import DataSplitConfig
from hpo_utils.errors import DataError

PARTS = ("train", "val", "test")

Indices = NDArray[np.int64]


def split_indices(
    n_samples: int, cfg: DataSplitConfig, groups: NDArray[Any] | None = None
) -> dict[str, Indices]:
    """Assign every sample to one part.

    Parameters
    ----------
    n_samples
        Number of samples.
    cfg
        Ratios of the parts and the seed of the shuffle.
    groups
        Group id of each sample, of shape (n_samples,); None treats every sample as its own group.

    Returns
    -------
    dict of int64 arrays
        Sorted sample indices of ``train``, ``val`` and ``test``: disjoint, and complete together.

    Raises
    ------
    DataError
        If a part would be empty.
    """
    members = _group_members(n_samples, groups)
    order = np.random.default_rng(cfg.seed).permutation(len(members))
    ratios = {"train": cfg.train_ratio, "val": cfg.val_ratio, "test": cfg.test_ratio}
    wanted = {part: ratio * n_samples for part, ratio in ratios.items()}
    assigned: dict[str, list[Indices]] = {part: [] for part in PARTS}
    filled = dict.fromkeys(PARTS, 0)
    for position, index in enumerate(order):
        group = members[index]
        candidates = [part for part in PARTS if wanted[part] > 0]
        waiting = [part for part in candidates if not filled[part]]
        if len(order) - position <= len(waiting):
            candidates = waiting  # the last groups go to parts that would else stay empty
        # the part that the group fills to the smallest share of what it wants takes it
        part = min(candidates, key=lambda part: (filled[part] + len(group)) / wanted[part])
        assigned[part].append(group)
        filled[part] += len(group)
    empty = [part for part in PARTS if not filled[part]]
    if empty:
        what = "samples" if groups is None else "groups"
        raise DataError(
            f"each part of the split must get at least one sample, but {' and '.join(empty)} got"
            f" none of {len(members)} {what} by the ratios {', '.join(map(str, ratios.values()))}:"
            f" use more {what} or other ratios"
        )
    return {part: np.sort(np.concatenate(pieces)) for part, pieces in assigned.items()}


def _group_members(n_samples: int, groups: NDArray[Any] | None) -> list[Indices]:
    """Return the sample indices of each group, in the order of the group ids."""
    if groups is None:
        return [np.array([i]) for i in range(n_samples)]
    _, sizes = np.unique(groups, return_counts=True)
    by_group = np.argsort(groups, kind="stable")
    return np.split(by_group, np.cumsum(sizes)[:-1])
