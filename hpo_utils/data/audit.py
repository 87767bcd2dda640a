"""The leakage audit: do held-out samples reach the training, and is a target an input?

A test score is meaningful only if the test part is new to the model. Each check states what it
found in the prepared data and whether that is fine, worth a look, or a leak.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.language import _
from hpo_utils.base.paths import read_mapping, write_json
from hpo_utils.data.features import STATISTICS, band_means, channel_statistics
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.scaling import RunningStatistics, in_blocks
from hpo_utils.data.split import MIN_UNITS, PARTS

FILE, VERSION = "audit.json", 7
NAMES = ("channel_names", "target_names")  # names that appear in findings
NEAR = 0.05  # largest difference of a near copy, in standard deviations of inputs and of targets
NEIGHBOURS = 3  # samples this many places apart in the file count as recorded together
SUSPICIOUS_SHARE = 0.1  # share of samples whose nearest sample is a neighbour in the file
SUSPICIOUS_RATIO = 10.0  # ratio of this share to the share by chance
COPY = 0.999  # minimum correlation at which a channel statistic counts as a copy of a target
MAX_NAMED = 3  # maximum number of sample pairs listed in a finding
MAX_SEARCHED = 2000  # maximum held-out samples of a part whose nearest sample is searched
EXACT = 1e-3  # tolerance for mean 0 and standard deviation 1 of standardised data
FINE, LOOK, LEAK = "fine", "look", "leak"


@dataclass(frozen=True)
class Finding:
    """What one check found, and its verdict: ``fine``, ``look`` or ``leak``.

    ``found`` has places for the ``values``, so that it can be kept in a file and shown in any
    language. ``examples`` are numbers of samples in the source, from 0.
    """

    check: str
    found: str
    verdict: str
    values: Mapping[str, str] = field(default_factory=dict)
    examples: str = ""

    @property
    def text(self) -> str:
        """What was found, in the language in use."""
        found = _(self.found).format(**{name: _(value) for name, value in self.values.items()})
        return f"{found}: {_('samples')} {self.examples}" if self.examples else found


@dataclass(frozen=True)
class Digest:
    """Summary of one part for the checks; rows are samples.

    ``hashes`` has one hash of the whole input per sample. ``bands`` has shape (n_samples,
    n_features): the inputs averaged over bands. ``statistics`` has shape (n_samples, n_statistics,
    n_channels). ``moments`` covers all values of each channel.
    """

    hashes: list[bytes]
    bands: NDArray[np.float32]
    statistics: NDArray[np.float64]
    moments: RunningStatistics


def audit_leakage(data: PreparedData) -> list[Finding]:
    """Run all checks, or return the saved findings, since prepared data do not change."""
    file = data.directory / FILE
    made_of = {"version": VERSION, **{key: data.manifest[key] for key in NAMES}}
    known = read_mapping(file) or {}
    if made_of.items() <= known.items():
        # a damaged file, also one whose texts and values do not fit: run the checks again
        with suppress(TypeError, AttributeError, LookupError, ValueError):
            saved = [Finding(**finding) for finding in known["findings"]]
            if all(finding.text for finding in saved):
                return saved
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
    """Look for samples whose inputs are identical to those of another sample, bit for bit."""
    places: defaultdict[bytes, dict[str, int]] = defaultdict(dict)  # one sample number per part
    for part, digest in parts.items():
        for content, number in zip(digest.hashes, data.sample_numbers(part).tolist(), strict=True):
            places[content].setdefault(part, number)
    n_copies = sum(len(digest.hashes) for digest in parts.values()) - len(places)
    across = [tuple(sorted(where.values())) for where in places.values() if len(where) > 1]
    found = "{n} samples repeat another one, {across} of these contents lie in two parts"
    values = {"n": str(n_copies), "across": str(len(across))}
    return Finding("exact copies", found, LEAK if across else FINE, values, _first(across))


def _first(alike: Iterable[tuple[int, ...]]) -> str:
    """Return the first few tuples of similar samples."""
    return ", ".join(map(str, sorted(alike)[:MAX_NAMED]))


def resemblances(data: PreparedData, parts: dict[str, Digest]) -> list[Finding]:
    """Compare each held-out sample with the most similar sample of an earlier part.

    *Near copies*: two samples of different parts have almost the same inputs and targets. All pairs
    of parts are compared: the validation part chooses the winner, so samples that it shares with
    the test part also make the test score optimistic.
    *Neighbours in the file*: the most similar training sample was recorded just before or after.
    This happens if recordings were cut into windows and each window was assigned to a part by
    itself.
    """
    near_pairs, beside, chance = list[tuple[int, ...]](), [], []
    for known, part in combinations(PARTS, 2):
        rows, distance, nearest = _nearest(parts[known], parts[part])
        numbers, z = data.sample_numbers(part)[rows], _standardized(data, part)[rows]
        theirs, z_theirs = data.sample_numbers(known), _standardized(data, known)[nearest]
        squares = np.ma.masked_invalid((z - z_theirs) ** 2)  # of targets measured in both
        apart = np.sqrt(squares.mean(axis=1).filled(0.0))
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
        "{n} pairs of samples of two parts are within {x} standard deviations of each other, in"
        " inputs (averaged over bands) and in targets"
    )
    where = (
        "{share} of the held-out samples resemble most a training sample at most {n} places away in"
        " the file; chance would give {expected}"
    )
    suspicious = share > SUSPICIOUS_SHARE and share > SUSPICIOUS_RATIO * expected
    if suspicious:
        where = (
            "{share} of the held-out samples resemble most a training sample at most {n} places"
            " away in the file; chance would give {expected}: if recordings were cut into windows,"
            " name them in dataset.groups"
        )
    return [
        Finding(
            "near copies", near, LOOK if near_pairs else FINE,
            {"n": str(len(near_pairs)), "x": f"{NEAR:g}"}, _first(near_pairs),
        ),
        Finding(
            "neighbours in the file", where, LOOK if suspicious else FINE,
            {"share": f"{share:.0%}", "n": str(NEIGHBOURS), "expected": f"{expected:.1%}"},
        ),
    ]  # fmt: skip


def torn_groups(data: PreparedData) -> Finding:
    """Count the groups whose samples lie in more than one part."""
    numbers = {part: data.groups(part) for part in PARTS}
    owners = [set(group.tolist()) for group in numbers.values() if group is not None]
    if not owners:
        return Finding("groups", "no groups are given", LOOK)
    n_groups = len(set().union(*owners))
    torn = sum(sum(group in owner for owner in owners) > 1 for group in set().union(*owners))
    found = "{torn} of {n} groups lie in more than one part"
    values = {"torn": str(torn), "n": str(n_groups)}
    return Finding("groups", found, LEAK if torn else FINE, values)


def foreign_statistics(data: PreparedData, train: RunningStatistics) -> Finding:
    """Recompute the scalers' means and standard deviations from the training part."""
    scaler = data.target_scaler
    y = scaler.on_scale(data.targets("train").astype(np.float64))
    off = max(
        float(np.abs(train.mean).max()),
        float(np.abs(train.std - 1.0).max()),
        float(np.abs((np.nanmean(y, axis=0) - scaler.mean) / scaler.std).max()),
        float(np.abs(np.nanstd(y, axis=0) / scaler.std - 1.0).max()),
    )
    found = (
        "means and standard deviations of the training part are those of the scalers within {x}"
        " standard deviations"
    )
    return Finding("statistics", found, FINE if off < EXACT else LEAK, {"x": f"{off:.1g}"})


def still_channels(data: PreparedData, parts: dict[str, Digest]) -> Finding:
    """Look for channels that are constant within samples or throughout a held-out part."""
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
    found = "constant within samples, a setting rather than a signal: {still}"
    if dead:
        found = "constant throughout: {dead}"
    if still and dead:
        found = (
            "constant within samples, a setting rather than a signal: {still}; constant throughout:"
            " {dead}"
        )
    values = {"still": ", ".join(still), "dead": ", ".join(dead)}
    return Finding("constant channels", found, LOOK, values)


def copied_targets(data: PreparedData, statistics: NDArray[np.float64]) -> Finding:
    """Look for a channel statistic that equals a target, up to scale and offset.

    ``statistics`` are those of the training part, of shape (n_samples, n_statistics, n_channels).
    """
    y = data.targets("train").astype(np.float64)
    if len(y) < MIN_UNITS:
        found = "{n} training samples are too few to tell a copy from chance"
        return Finding("channels that copy a target", found, LOOK, {"n": str(len(y))})
    # (n_samples, n_statistics * n_channels) against (n_samples, n_targets)
    flat = statistics.reshape(len(statistics), -1)
    columns = ((flat[known], y[known, k]) for k, known in enumerate(np.isfinite(y).T))
    correlation = np.stack([_correlation(*each) for each in columns], axis=1)
    # (n_statistics * n_channels, n_targets) -> (n_statistics, n_channels, n_targets)
    by_channel = correlation.reshape(*statistics.shape[1:], -1)
    s, c, k = np.unravel_index(by_channel.argmax(), by_channel.shape)
    highest = float(by_channel[s, c, k])
    found = "the closest is {statistic} of {channel} with {target}: correlation {r}"
    values = {
        "statistic": STATISTICS[s], "channel": data.used_channels[c],
        "target": data.target_names[k], "r": f"{highest:.3f}",
    }  # fmt: skip
    # a measured quantity may legitimately equal the target: the user must decide
    return Finding("channels that copy a target", found, LOOK if highest >= COPY else FINE, values)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the size of the correlation of each column of (n, n_columns) with (n,)."""
    a = (a - a.mean(axis=0)) / np.maximum(a.std(axis=0), 1e-12)
    found: NDArray[np.float64] = np.abs(a.T @ ((b - b.mean()) / b.std())) / len(b)
    return found


def _digest(data: PreparedData, part: str) -> Digest:
    """Read a part once, with a few samples in memory at a time."""
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
    """Return held-out rows, and the distance and row of the nearest known sample of each.

    The distance is the root mean square difference of the band means in units of their standard
    deviation. At most ``MAX_SEARCHED`` held-out samples, spread evenly over the part, are searched.
    """
    from sklearn.neighbors import NearestNeighbors  # slow, and not needed once audited

    n_held_out = len(held_out.bands)
    rows = np.unique(np.linspace(0, n_held_out - 1, min(n_held_out, MAX_SEARCHED)).astype(int))
    mean, std = known.bands.mean(axis=0), np.maximum(known.bands.std(axis=0), 1e-12)
    search = NearestNeighbors(n_neighbors=1).fit((known.bands - mean) / std)
    distance, index = search.kneighbors((held_out.bands[rows] - mean) / std)
    return rows, distance[:, 0] / known.bands.shape[1] ** 0.5, index[:, 0]
