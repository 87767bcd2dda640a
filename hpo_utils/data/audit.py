"""The leakage audit: does anything of the held-out parts reach the training? Is a target an input?

A test score means something only where the test part is new to the model. Each check says what it
found in the prepared data and whether that is fine, worth a look, or a leak.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from hpo_utils.base.paths import read_mapping, write_json
from hpo_utils.data.features import STATISTICS, band_means, channel_statistics
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import RunningStatistics, in_blocks
from hpo_utils.data.split import MIN_UNITS, PARTS

FILE, VERSION = "audit.json", 6
NAMES = ("channel_names", "target_names")  # that findings speak of
NEAR = 0.05  # standard deviations by which a near copy may differ, in inputs and in targets
NEIGHBOURS = 3  # samples before and after in the file that count as recorded together
SUSPICIOUS_SHARE = 0.1  # of samples that have a neighbour in the file as their nearest
SUSPICIOUS_RATIO = 10.0  # of this share over what chance would give
COPY = 0.999  # correlation from which a statistic of a channel counts as a copy of a target
MAX_NAMED = 3  # pairs of samples in a finding
MAX_SEARCHED = 2000  # held-out samples of a part whose nearest is looked for
EXACT = 1e-3  # mean and standard deviation of standardised inputs may miss 0 and 1 by this
FINE, LOOK, LEAK = "fine", "look", "leak"


@dataclass(frozen=True)
class Finding:
    """What one check found, and its verdict: ``fine``, ``look`` or ``leak``."""

    check: str
    found: str
    verdict: str


@dataclass(frozen=True)
class Digest:
    """What the checks need of one part; rows are samples.

    ``hashes`` of the whole inputs; ``bands`` of shape (n_samples, n_features), the inputs averaged
    over bands; ``statistics`` of shape (n_samples, n_statistics, n_channels); ``moments`` over all
    values of each channel.
    """

    hashes: list[bytes]
    bands: NDArray[np.float32]
    statistics: NDArray[np.float64]
    moments: RunningStatistics


def audit_leakage(data: PreparedData) -> list[Finding]:
    """Run all checks, or return what they found before: prepared data do not change."""
    file = data.directory / FILE
    made_of = {"version": VERSION, **{key: data.manifest[key] for key in NAMES}}
    known = read_mapping(file) or {}
    if made_of.items() <= known.items():
        with suppress(TypeError, KeyError):  # damaged: it is made again
            return [Finding(**finding) for finding in known["findings"]]
    parts = {part: _digest(data, part) for part in PARTS}
    findings = [
        exact_copies(data, parts),
        *resemblances(data, parts),
        torn_groups(data),
        foreign_statistics(data, parts["train"].moments),
        still_channels(data, parts),
        copied_targets(data, parts["train"].statistics),
    ]
    write_json(file, {**made_of, "findings": [asdict(finding) for finding in findings]})
    return findings


def exact_copies(data: PreparedData, parts: dict[str, Digest]) -> Finding:
    """Look for samples whose inputs are those of another one, bit for bit."""
    places: defaultdict[bytes, dict[str, int]] = defaultdict(dict)  # a sample of each part
    for part, digest in parts.items():
        for content, number in zip(digest.hashes, data.sample_numbers(part).tolist(), strict=True):
            places[content].setdefault(part, number)
    n_copies = sum(len(digest.hashes) for digest in parts.values()) - len(places)
    across = [tuple(sorted(where.values())) for where in places.values() if len(where) > 1]
    found = (
        f"{n_copies} samples repeat another one, {len(across)} of these contents lie in two parts"
    )
    return Finding("exact copies", found + _named(across), LEAK if across else FINE)


def _named(alike: Iterable[tuple[int, ...]]) -> str:
    """Return which samples are alike, the first few, by their numbers in the source from 0."""
    first = sorted(alike)[:MAX_NAMED]
    return ": samples " + ", ".join(map(str, first)) if first else ""


def resemblances(data: PreparedData, parts: dict[str, Digest]) -> list[Finding]:
    """Look at the sample of an earlier part that each held-out sample resembles most.

    *Near copies*: both their inputs and their targets are almost the same, between any two parts:
    the validation part chooses the winner, so what it shares with the test part flatters as well.
    *Neighbours in the file*: a training sample was recorded just before or after, as happens where
    recordings were cut into windows that were then dealt out singly.
    """
    near_pairs, beside, chance = list[tuple[int, ...]](), [], []
    for known, part in combinations(PARTS, 2):
        rows, distance, nearest = _nearest(parts[known], parts[part])
        numbers, z = data.sample_numbers(part)[rows], _standardized(data, part)[rows]
        theirs, z_theirs = data.sample_numbers(known), _standardized(data, known)[nearest]
        apart = np.sqrt(((z - z_theirs) ** 2).mean(axis=1))
        is_near = (distance < NEAR) & (apart < NEAR)
        pairs = np.sort(np.stack([theirs[nearest], numbers], axis=1)[is_near], axis=1)
        near_pairs += map(tuple, pairs.tolist())
        if known == "train":
            beside.append(np.abs(theirs[nearest] - numbers) <= NEIGHBOURS)
            close = np.searchsorted(theirs, numbers + NEIGHBOURS, side="right")
            chance.append((close - np.searchsorted(theirs, numbers - NEIGHBOURS)) / len(theirs))
    together = np.concatenate(beside)
    share, expected = float(together.mean()), float(np.concatenate(chance).mean())
    near = (
        f"{len(near_pairs)} pairs of samples of two parts are within {NEAR:g} standard deviations"
        " of each other, in inputs (averaged over bands) and in targets" + _named(near_pairs)
    )
    where = (
        f"{share:.0%} of the held-out samples resemble most a training sample at most"
        f" {NEIGHBOURS} places away in the file; chance would give {expected:.1%}"
    )
    suspicious = share > SUSPICIOUS_SHARE and share > SUSPICIOUS_RATIO * expected
    if suspicious:
        where += ": if recordings were cut into windows, name them in dataset.groups"
    return [
        Finding("near copies", near, LOOK if near_pairs else FINE),
        Finding("neighbours in the file", where, LOOK if suspicious else FINE),
    ]


def torn_groups(data: PreparedData) -> Finding:
    """Count the groups of which samples lie in two parts."""
    numbers = {part: data.groups(part) for part in PARTS}
    owners = [set(group.tolist()) for group in numbers.values() if group is not None]
    if not owners:
        return Finding("groups", "no groups are given", LOOK)
    n_groups = len(set().union(*owners))
    torn = sum(sum(group in owner for owner in owners) > 1 for group in set().union(*owners))
    found = f"{torn} of {n_groups} groups lie in more than one part"
    return Finding("groups", found, LEAK if torn else FINE)


def foreign_statistics(data: PreparedData, train: RunningStatistics) -> Finding:
    """Compute again from the training part what the scalers hold."""
    y = data.targets("train").astype(np.float64)
    scaler = data.target_scaler
    off = max(
        float(np.abs(train.mean).max()),
        float(np.abs(train.std - 1.0).max()),
        float(np.abs((y.mean(axis=0) - scaler.mean) / scaler.std).max()),
        float(np.abs(y.std(axis=0) / scaler.std - 1.0).max()),
    )
    found = (
        f"means and standard deviations of the training part are those of the scalers within"
        f" {off:.1g} standard deviations"
    )
    return Finding("statistics", found, FINE if off < EXACT else LEAK)


def still_channels(data: PreparedData, parts: dict[str, Digest]) -> Finding:
    """Look for channels that do not vary within samples, or not at all in a held-out part."""
    names = data.used_channels
    spread = parts["train"].statistics[:, STATISTICS.index("standard deviation")]
    still = [name for name, s in zip(names, (spread > 0).mean(axis=0), strict=True) if s < 0.01]
    dead = [
        f"{name} (in {part})"
        for part in PARTS[1:]
        for name, varies in zip(names, parts[part].moments.varies, strict=True)
        if not varies
    ]
    if not still and not dead:
        return Finding("constant channels", "every channel varies within samples", FINE)
    said = [f"constant within samples, a setting rather than a signal: {', '.join(still)}"] * (
        len(still) > 0
    ) + [f"constant throughout: {', '.join(dead)}"] * (len(dead) > 0)
    return Finding("constant channels", "; ".join(said), LOOK)


def copied_targets(data: PreparedData, statistics: NDArray[np.float64]) -> Finding:
    """Look for a channel of which a statistic is a target, up to scale and offset.

    ``statistics`` of the training part, of shape (n_samples, n_statistics, n_channels).
    """
    y = data.targets("train").astype(np.float64)
    if len(y) < MIN_UNITS:
        found = f"{len(y)} training samples are too few to tell a copy from chance"
        return Finding("channels that copy a target", found, LOOK)
    # (n_samples, n_statistics * n_channels) against (n_samples, n_targets)
    flat = statistics.reshape(len(statistics), -1)
    a = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-12)
    b = (y - y.mean(axis=0)) / y.std(axis=0)
    correlation = np.abs(a.T @ b) / len(y)
    # (n_statistics * n_channels, n_targets) -> (n_statistics, n_channels, n_targets)
    by_channel = correlation.reshape(*statistics.shape[1:], -1)
    s, c, k = np.unravel_index(by_channel.argmax(), by_channel.shape)
    highest = float(by_channel[s, c, k])
    found = (
        f"the closest is {STATISTICS[s]} of {data.used_channels[c]} with"
        f" {data.target_names[k]}: correlation {highest:.3f}"
    )
    # a measured quantity may well be the target: only a person can say
    return Finding("channels that copy a target", found, LOOK if highest >= COPY else FINE)


def _digest(data: PreparedData, part: str) -> Digest:
    """Read a part once, a few samples in memory at a time."""
    x = data.inputs(part)
    moments = RunningStatistics(x.shape[1])
    hashes, bands, statistics = [], [], []
    for block in in_blocks(x):
        hashes += [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in block]
        moments.update(block)
        bands.append(band_means(block).astype(np.float32))
        # (n_samples, n_statistics * n_channels) -> (n_samples, n_statistics, n_channels)
        statistics.append(channel_statistics(block).reshape(len(block), len(STATISTICS), -1))
    return Digest(hashes, np.concatenate(bands), np.concatenate(statistics), moments)


def _standardized(data: PreparedData, part: str) -> NDArray[np.float32]:
    return data.target_scaler.transform(data.targets(part))


def _nearest(
    known: Digest, held_out: Digest
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return held-out rows, and distance to and row of the nearest known sample of each.

    Distances are the root mean square over band means in units of their standard deviation. Of many
    held-out samples ``MAX_SEARCHED``, spread over the part, stand for all.
    """
    n_held_out = len(held_out.bands)
    rows = np.unique(np.linspace(0, n_held_out - 1, min(n_held_out, MAX_SEARCHED)).astype(int))
    mean, std = known.bands.mean(axis=0), np.maximum(known.bands.std(axis=0), 1e-12)
    search = NearestNeighbors(n_neighbors=1).fit((known.bands - mean) / std)
    distance, index = search.kneighbors((held_out.bands[rows] - mean) / std)
    return rows, distance[:, 0] / known.bands.shape[1] ** 0.5, index[:, 0]
