"""The split of the samples into a training, a validation and a test part.

Recordings of one run are near copies of each other. Give them the same group id, so that they stay
in one part; otherwise the test score measures memorisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.errors import DataError
from hpo_utils.base.settings import DataSplitConfig
from hpo_utils.data.labels import is_no_label
from hpo_utils.formats.columns import parts_in
from hpo_utils.formats.opening import wrong_kind

PARTS = ("train", "val", "test")
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
MIN_FOLDS, MAX_FOLDS = 3, 1000  # one tests, one validates, the rest trains
MIN_UNITS = 8  # minimum samples, groups or blocks of a part; fewer make intervals far too narrow

Indices = NDArray[np.int64]


def split_indices(
    n_samples: int,
    cfg: DataSplitConfig,
    groups: NDArray[Any] | None = None,
    given: NDArray[Any] | None = None,
) -> dict[str, Indices]:
    """Assign every sample to one part.

    Parameters
    ----------
    n_samples
        Number of samples.
    cfg
        Ratios of the parts, or the number of folds and the index of the test fold; the method of
        assignment; the seed of the shuffle.
    groups
        Group id of each sample, of shape (n_samples,). Without groups, or with ``method`` random,
        every sample is its own group. With ``method`` time, a group is placed at its first sample.
    given
        The part or fold of each sample, as ``part_words`` returns it; None: ``cfg`` decides.
        Without a validation part, one is cut from the training part.

    Returns
    -------
    dict of int64 arrays
        Sorted sample indices of ``train``, ``val`` and ``test``. They are disjoint and together
        cover all samples except those in the gaps.

    Raises
    ------
    DataError
        If a part would be empty, the method is ``group`` without groups, there is a gap but the
        method is not ``time``, or ``given`` does not go with ``cfg``.
    """
    if cfg.method == "group" and groups is None:
        raise DataError(
            "data_split.method group must have group ids, but dataset.groups names no file: add it"
        )
    if cfg.gap and cfg.method != "time":
        raise DataError(
            f"data_split.gap must go with data_split.method time, got {cfg.gap} with {cfg.method}:"
            " set the method, or the gap to 0"
        )
    if given is not None:
        return _as_given(given, cfg, groups)
    members = _group_members(n_samples, None if cfg.method == "random" else groups)
    shares = {"train": cfg.train_ratio, "val": cfg.val_ratio, "test": cfg.test_ratio}
    if cfg.n_folds is not None:
        shares = {f"fold {number}": 1 / cfg.n_folds for number in range(cfg.n_folds)}
    by_time = cfg.method == "time"
    dealt = _in_order(members, shares) if by_time else _at_random(members, shares, cfg.seed)
    part_of = {part: part for part in PARTS} if cfg.n_folds is None else _parts_of_folds(dealt, cfg)
    remaining = _with_gaps(dealt, part_of, cfg.gap)
    assigned = {
        part: _sorted([remaining[piece] for piece in dealt if part_of[piece] == part])
        for part in PARTS
    }
    if empty := [name for name, samples in remaining.items() if not len(samples)]:
        what = "samples" if len(members) == n_samples else "groups"
        raise DataError(
            f"each part of the split must get at least one sample, but {' and '.join(empty)} got"
            f" none of {len(members)} {what} {_asked(cfg)}: use more {what}"
            f"{', a smaller gap' if cfg.gap else ''} or"
            f" {'fewer folds' if cfg.n_folds else 'other ratios'}"
        )
    return assigned


def group_ids(ids: NDArray[Any], n_samples: int, name: str = "dataset.groups") -> NDArray[Any]:
    """Return the group ids, with bytes decoded to text.

    Raises
    ------
    DataError
        If the ids do not have shape (n_samples,), are neither numbers nor text, are bytes other
        than UTF-8, are not finite, or stand for a missing label; the message calls them ``name``.
    """
    if ids.dtype.kind not in "iufbUS":
        raise DataError(wrong_kind(ids.dtype, name, "iufbUS"))
    if ids.shape != (n_samples,):
        raise DataError(
            f"{name} must hold one id for each of {n_samples} samples, got shape {ids.shape}"
        )
    if ids.dtype.kind == "S":
        try:
            ids = np.char.decode(ids, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} must hold names in UTF-8, got {error.object!r}: save them as text,"
                " of dtype str"
            ) from None
    if ids.dtype.kind == "f" and not np.isfinite(ids).all():
        raise DataError(
            f"{name} must name a group for each sample, got {(~np.isfinite(ids)).sum()}"
            " values that are not finite: give these samples groups of their own"
        )
    none = np.zeros(len(ids), dtype=bool)
    if ids.dtype.kind == "U":
        none = np.array([is_no_label(text) or text.strip() == "NA" for text in ids.tolist()])
    elif ids.dtype.kind == "i" and ids.dtype.itemsize > 1:  # NaN cast to an integer
        none = ids == np.iinfo(ids.dtype).min
    if none.any():
        first = int(none.argmax())
        raise DataError(
            f"{name} must name a group for each sample, got {ids[first].item()!r} for sample"
            f" {first} ({none.sum()} such labels), which says that there is none: give these"
            " samples groups of their own"
        )
    return ids


def part_words(words: NDArray[Any], n_samples: int) -> NDArray[np.str_]:
    """Return the part of each sample, ``train``, ``val`` or ``test``, from the words for them.

    Of whole numbers, or words like ``fold 3``, it returns the fold of each sample, which is
    ``fold 0`` for the lowest number.

    Raises
    ------
    DataError
        If a word is not known, there is not one for each sample, none trains or none tests, or the
        folds are fewer than ``MIN_FOLDS`` or more than ``MAX_FOLDS``.
    """
    if words.shape != (n_samples,):
        raise DataError(
            f"dataset.split must hold a word for each of {n_samples} samples, got {words.shape}"
        )
    asked = np.char.lower(np.char.strip(words.astype(str)))
    folds = [word.removeprefix("fold").lstrip().removesuffix(".0") for word in asked.tolist()]
    if folds and all(map(str.isdecimal, folds)):
        numbers, of_sample = np.unique(list(map(int, folds)), return_inverse=True)
        if not MIN_FOLDS <= len(numbers) <= MAX_FOLDS:
            raise DataError(
                f"dataset.split must number {MIN_FOLDS} to {MAX_FOLDS} folds, got {len(numbers)}:"
                f" write the words {', '.join(PARTS)} for parts"
            )
        return np.array([f"fold {k}" for k in range(len(numbers))])[of_sample]
    parts = parts_in(asked.tolist())
    if parts is None:
        unknown = sorted(word for word in set(asked.tolist()) if parts_in([word]) is None)
        raise DataError(
            f"dataset.split must hold the words {', '.join(PARTS)} or numbers of folds, got"
            f" {', '.join(unknown[:5])}"
        )
    found = np.array(parts, dtype=np.str_)
    if missing := {"train", "test"} - set(found.tolist()):
        raise DataError(
            f"dataset.split must name samples of each part, got none to {missing.pop()}"
        )
    return found


def n_folds_of(given: NDArray[Any]) -> int | None:
    """Return the number of folds that ``part_words`` found; None where it found parts."""
    return len(set(given.tolist())) if given[0].startswith("fold") else None


def _as_given(
    given: NDArray[Any], cfg: DataSplitConfig, groups: NDArray[Any] | None
) -> dict[str, Indices]:
    """Return the samples of each given part; cut a validation part from training if it is none."""
    if cfg.gap:
        raise DataError(
            "dataset.split must stand alone, got data_split.gap beside it: leave one of the two out"
        )
    if n_folds_of(given) is not None:
        return _as_given_folds(given, cfg)
    if cfg.n_folds is not None:
        raise DataError(
            "dataset.split must hold numbers of folds where data_split.n_folds is set, got the"
            " words train, val and test: set data_split.n_folds to null"
        )
    found = {part: np.flatnonzero(given == part) for part in PARTS}
    for part in ("train", "test"):
        if not len(found[part]):
            raise DataError(
                f"dataset.split must leave samples of each part, got none to {part} among the"
                f" {len(given)} in use: raise dataset.limit"
            )
    if len(found["val"]):
        return found
    if cfg.val_ratio <= 0 or cfg.train_ratio <= 0:
        raise DataError(
            "data_split.train_ratio and val_ratio must be above 0 where dataset.split leaves"
            f" validation samples to be cut, got {cfg.train_ratio} and {cfg.val_ratio}"
        )
    rows, share = found["train"], cfg.val_ratio / (cfg.train_ratio + cfg.val_ratio)
    kept = None if groups is None or cfg.method == "random" else groups[rows]
    shares = {"train": 1 - share, "val": share}
    members = _group_members(len(rows), kept)
    by_time = cfg.method == "time"
    dealt = _in_order(members, shares) if by_time else _at_random(members, shares, cfg.seed)
    if not min(map(len, dealt.values())):
        what = f"{len(members)} " + ("samples" if kept is None else "groups")
        raise DataError(
            f"the training samples of dataset.split must make two parts, got {what}: name"
            " validation samples in it, too"
        )
    return {**found, **{part: rows[positions] for part, positions in dealt.items()}}


def _as_given_folds(given: NDArray[Any], cfg: DataSplitConfig) -> dict[str, Indices]:
    """Return the samples of each part, where the fold of each sample is given."""
    names = sorted(set(given.tolist()), key=lambda name: int(name.split()[1]))
    if cfg.n_folds != len(names):
        raise DataError(
            f"data_split.n_folds must be {len(names)}, the number of folds that dataset.split gives"
            f" to the samples in use, got {'null' if cfg.n_folds is None else cfg.n_folds}"
            + (": raise dataset.limit" if len(names) < MIN_FOLDS else "")
        )
    folds = {name: np.flatnonzero(given == name) for name in names}
    part_of = _parts_of_folds(folds, cfg)
    return {part: _sorted([folds[f] for f in folds if part_of[f] == part]) for part in PARTS}


def further_folds(
    n_train: int,
    n_val: int,
    n_further: int,
    cfg: DataSplitConfig,
    groups: NDArray[Any] | None = None,
) -> list[dict[str, Indices]]:
    """Deal out samples of the training part as further validation parts.

    Parameters
    ----------
    n_train, n_val
        Sizes of the given parts.
    n_further
        Number of further validation parts, each of about ``n_val`` samples.
    cfg
        The method of assignment, its seed and gap.
    groups
        Group number of each sample of the training part; groups stay together.

    Returns
    -------
    list of dict
        For each further part the rows ``val`` and ``train`` of both given parts joined. All other
        samples train; if the split is by time, only those that come before, less the gap. A part
        that would leave nothing to train on is left out.
    """
    members = _group_members(n_train, None if cfg.method == "random" else groups)
    share, by_time = n_val / n_train, cfg.method == "time"
    shares = {"rest": 1 - n_further * share, **{f"fold {k}": share for k in range(n_further)}}
    dealt = _in_order(members, shares) if by_time else _at_random(members, shares, cfg.seed)
    del dealt["rest"]
    folds = []
    for val in dealt.values():
        train = np.setdiff1d(np.arange(n_train + n_val), val)
        if by_time and len(val):
            train = train[train < val[0] - cfg.gap]
        if len(val) and len(train) > 1:
            folds.append({"train": train, "val": val})
    return folds


def time_blocks(n_samples: int) -> Indices:
    """Return the block number of each sample of a recording, in order of time.

    Errors of neighbouring samples are correlated, so blocks replace samples where independent units
    are needed: about sqrt(n) blocks for n samples, and at least ``MIN_UNITS``.
    """
    n_blocks = min(n_samples, max(MIN_UNITS, math.isqrt(n_samples)))
    return np.arange(n_samples) * n_blocks // max(n_samples, 1)


def _parts_of_folds(folds: Iterable[str], cfg: DataSplitConfig) -> dict[str, str]:
    """Return the part of each fold: one tests, the fold before it validates, all others train."""
    names = list(folds)
    held_out = {names[cfg.fold]: "test", names[cfg.fold - 1]: "val"}
    return {name: held_out.get(name, "train") for name in names}


def _with_gaps(
    pieces: Mapping[str, Indices], part_of: Mapping[str, str], gap: int
) -> dict[str, Indices]:
    """Leave out samples at most ``gap`` places away from a sample of another part.

    Overlapping windows next to a cut would otherwise lie on both sides of it, and if groups
    interleave in time, parts meet in many places. Training samples near the validation or test part
    are dropped, and validation samples near the test part.
    """
    if gap == 0:
        return dict(pieces)
    joined = {
        part: _sorted([samples for piece, samples in pieces.items() if part_of[piece] == part])
        for part in PARTS
    }
    # samples of a part are dropped near these other parts
    before = {"train": ("val", "test"), "val": ("test",), "test": ()}
    remaining = {}
    for piece, samples in pieces.items():
        near = np.zeros(len(samples), dtype=bool)
        for other in before[part_of[piece]]:
            first = np.searchsorted(joined[other], samples - gap)
            near |= np.searchsorted(joined[other], samples + gap, side="right") > first
        remaining[piece] = samples[~near]
    return remaining


def _asked(cfg: DataSplitConfig) -> str:
    """Describe the requested sizes of the parts in words, for messages."""
    ratios = f"{cfg.train_ratio}, {cfg.val_ratio}, {cfg.test_ratio}"
    size = f"in {cfg.n_folds} folds" if cfg.n_folds else f"by the ratios {ratios}"
    return f"{size} with a gap of {cfg.gap} (data_split.gap)" if cfg.gap else size


def _at_random(
    members: list[Indices], shares: Mapping[str, float], seed: int
) -> dict[str, Indices]:
    """Shuffle the groups and assign each to the part that is then filled least."""
    n_samples = sum(map(len, members))
    order = np.random.default_rng(seed).permutation(len(members))
    wanted = {part: share * n_samples for part, share in shares.items()}
    assigned: dict[str, list[Indices]] = {part: [] for part in shares}
    filled = dict.fromkeys(shares, 0)
    for position, index in enumerate(order):
        group = members[index]
        candidates = [part for part in shares if wanted[part] > 0]
        waiting = [part for part in candidates if not filled[part]]
        if len(order) - position <= len(waiting):
            candidates = waiting  # the last groups go to parts that would otherwise be empty
        # choose the part that would be filled to the smallest share of its target size
        part = min(candidates, key=lambda part: (filled[part] + len(group)) / wanted[part])
        assigned[part].append(group)
        filled[part] += len(group)
    return {part: _sorted(pieces) for part, pieces in assigned.items()}


def _in_order(members: list[Indices], shares: Mapping[str, float]) -> dict[str, Indices]:
    """Cut the groups, ordered by their first samples, into consecutive parts."""
    members = sorted(members, key=lambda group: int(group[0]))
    ends = np.cumsum([len(group) for group in members])
    cuts = np.cumsum(list(shares.values()))[:-1] * ends[-1]
    # a group belongs to the part that contains its middle
    middles = ends - np.array([len(group) for group in members]) / 2
    part_of = np.searchsorted(cuts, middles, side="right")
    return {
        part: _sorted([group for group, k in zip(members, part_of, strict=True) if k == number])
        for number, part in enumerate(shares)
    }


def _sorted(pieces: list[Indices]) -> Indices:
    return np.sort(np.concatenate([*pieces, np.empty(0, np.int64)]))


def _group_members(n_samples: int, groups: NDArray[Any] | None) -> list[Indices]:
    """Return the sample indices of each group, in the order of the group ids."""
    if groups is None:
        return [np.array([i]) for i in range(n_samples)]
    _, sizes = np.unique(groups, return_counts=True)
    by_group = np.argsort(groups, kind="stable")
    return np.split(by_group, np.cumsum(sizes)[:-1])
