"""Views: each sample as numbers that a linear model or a tree can read, without weights.

Linear models see spectra as chemometrics pretreats them, the logarithm of each power spectrum, and
statistics of the whole and of its parts. Trees see statistics and quantiles of the whole, of its
halves and of its quarters: of the values, of their steps, and of the spectrum. An image counts as
the profiles of its means and spreads along both axes, with its spectra.

All is computed in double precision from standardised inputs (B, n_channels, L) or (B, n_channels,
H, W), by operations that an ONNX file can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from hpo_utils.baselines.spectra import (
    WINDOW,
    derivative,
    power_spectrum,
    root,
    standard_normal_variate,
)

LINEAR, CURVATURE, TREE = "linear", "curvature", "tree"  # kinds of views
MAX_PRETREATED = 2048  # pretreated values of a sample, which a long signal is averaged down to
N_POINTS = (16, 256)  # fewest and most of them per channel and pretreatment
N_BANDS = {LINEAR: 64, TREE: 32}  # bands of a power spectrum, of equal ratio like octaves
N_PATCHES = 8  # along each axis of an image's means and of its spectrum in two dimensions
MAX_IMAGE, MAX_SIDE = 2**18, 512  # values that are looked at of a large image, and along an axis
N_PROFILE = 32  # points of an image's profile
MIN_SPECTRUM = 16  # values along an axis that a useful spectrum needs
MIN_INTERVAL = 4  # values that quantiles are taken of
DEPTH = 3  # the whole, its halves, its quarters
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
# added to the power, in units of the variance: below it power counts as none. A linear model takes
# each decade for an equal step, so noise must not reach as far down as for trees
FLOOR = {LINEAR: 1e-8, TREE: 1e-12}


def views(x: Tensor, *kinds: str) -> list[Tensor]:
    """Return the views of each kind of inputs (B, n_channels, ...), (B, n_features) in float64.

    A kind is for linear models, of curvature alone (signals only), or for trees. What several kinds
    need is computed once.
    """
    found = _of_signals(x.to(torch.float64), kinds) if x.ndim == 3 else _of_images(x, kinds)
    return [torch.cat([each.flatten(1) for each in found[kind]], 1) for kind in kinds]


Found = dict[str, list[Tensor]]  # views by kind, (B, C, n) each


def _of_signals(x: Tensor, kinds: Sequence[str]) -> Found:
    """Return views of signals (B, C, L)."""
    treated = pretreated(x) if {LINEAR, CURVATURE} & set(kinds) else []
    found = _of_lines(x, [kind for kind in kinds if kind != CURVATURE])
    if LINEAR in kinds:
        found[LINEAR] += treated
    return {**found, CURVATURE: treated[-1:]}


def pretreated(x: Tensor) -> list[Tensor]:
    """Return signals (B, C, L) raw and in five pretreatments, averaged to at most 256 points."""
    fewest, most = N_POINTS
    n = min(most, max(fewest, MAX_PRETREATED // (6 * int(x.shape[1]))))
    raw = block_means(x, n)
    if raw.shape[-1] < WINDOW:
        return [raw, standard_normal_variate(raw)]
    curved = derivative(raw, 2)
    return [
        raw, standard_normal_variate(raw), derivative(raw, 1), curved,
        standard_normal_variate(curved),
    ]  # fmt: skip


def _of_images(x: Tensor, kinds: Sequence[str]) -> Found:
    """Return views of images (B, C, H, W)."""
    lines = {axis: _some_lines(x, axis).to(torch.float64) for axis in (2, 3)}
    found: Found = {kind: [] for kind in kinds}

    def add(*shared: Tensor) -> None:
        for each in found.values():
            each.extend(shared)

    add(statistics(lines[2].flatten(2)))
    for axis, seen in lines.items():  # the axis that profiles are means over
        spread = root((seen - seen.mean(axis, keepdim=True)).square().mean(axis))
        for profile in (seen.mean(axis), spread):
            add(block_means(profile, N_PROFILE), statistics(profile), quantiles(profile))
        along = 5 - axis
        if x.shape[along] >= MIN_SPECTRUM:
            power = power_spectrum(seen.movedim(along, 3), (3,)).mean(2)[..., 1:]
            for kind in kinds:
                found[kind].append(_log_bands(power, kind))
    if min(x.shape[2:]) >= N_PATCHES:
        power = power_spectrum(_middle(x).to(torch.float64), (2, 3))
        for kind in kinds:
            found[kind].append(_log_patches(power, kind))
    patches = block_means(block_means(lines[3], N_PATCHES).movedim(2, 3), N_PATCHES)
    add(patches.flatten(2))
    return found


def _some_lines(x: Tensor, axis: int) -> Tensor:
    """Return images with every n-th line of ``axis`` only, if they are large; the rest is whole."""
    step = -(-int(x.shape[2]) * int(x.shape[3]) // MAX_IMAGE)
    return x[:, :, ::step] if axis == 2 else x[:, :, :, ::step]


def _middle(x: Tensor) -> Tensor:
    """Return the middle of images, if they are large: thinned ones would fold frequencies over."""
    cuts = []
    for length in map(int, x.shape[2:]):
        start = max(0, (length - MAX_SIDE) // 2)
        cuts.append(slice(start, start + MAX_SIDE))
    return x[:, :, cuts[0], cuts[1]]


def _of_lines(x: Tensor, kinds: Sequence[str]) -> Found:
    """Return statistics, quantiles and bands of the spectrum of lines (B, C, L)."""
    if not kinds:
        return {}
    shared = [statistics(x), quantiles(x)]
    found = {kind: [*shared] for kind in kinds}
    if TREE in kinds and x.shape[-1] > MIN_INTERVAL:
        found[TREE].append(quantiles(x[..., 1:] - x[..., :-1]))
    if x.shape[-1] >= MIN_SPECTRUM:
        power = power_spectrum(x, (2,))[..., 1:]
        for kind in kinds:
            found[kind].append(_log_bands(power, kind))
        if TREE in kinds:
            found[TREE].append(quantiles((power + FLOOR[TREE]).log10()))
    return found


def statistics(x: Tensor) -> Tensor:
    """Return ten statistics (B, C, 10) of lines (B, C, n): level, spread, range, slope, steps."""
    steps = x[..., 1:] - x[..., :-1] if x.shape[-1] > 1 else torch.zeros_like(x)
    positions = torch.arange(int(x.shape[-1]), dtype=x.dtype, device=x.device)
    positions = positions - positions.mean()
    slope = (x * positions).sum(-1) / max(float((positions * positions).sum()), 1.0)
    found = [
        x.mean(-1), _spread(x), x.amin(-1), x.amax(-1), _median(x),
        x[..., 0], x[..., -1], slope, steps.abs().mean(-1), _spread(steps),
    ]  # fmt: skip
    return torch.stack(found, -1)


def quantiles(x: Tensor) -> Tensor:
    """Return quantiles and mean of lines (B, C, n) over the whole, its halves and its quarters."""
    found = []
    for parts in (2**level for level in range(DEPTH)):
        if parts > 1 and x.shape[-1] < parts * MIN_INTERVAL:
            break
        edges = np.linspace(0, int(x.shape[-1]), parts + 1).round().astype(int).tolist()
        for start, end in pairwise(edges):
            ordered = _ordered(x[..., start:end])
            found += [_at(ordered, share) for share in QUANTILES] + [ordered.mean(-1)]
    return torch.stack(found, -1)


def block_means(x: Tensor, n: int) -> Tensor:
    """Return the means of ``n`` blocks of nearly equal length of lines (..., L); all if shorter."""
    length = int(x.shape[-1])
    if length <= n:
        return x
    edges = np.linspace(0, length, n + 1).round().astype(int)
    return _sums(x, edges) / torch.from_numpy(np.diff(edges)).to(x)


def _sums(x: Tensor, edges: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    """Return the sums of ``x`` (..., L) between neighbouring edges."""
    running = torch.cat([torch.zeros_like(x[..., :1]), x.cumsum(-1)], -1)
    at = running[..., torch.from_numpy(edges).to(x.device)]
    return at[..., 1:] - at[..., :-1]


def _log_bands(power: Tensor, kind: str) -> Tensor:
    """Return log10 of power (..., n) in bands of equal ratio."""
    edges = _band_edges(int(power.shape[-1]), N_BANDS[kind])
    return (_sums(power, edges) + FLOOR[kind]).log10()


def _log_patches(power: Tensor, kind: str) -> Tensor:
    """Return log10 of power (B, C, H, W // 2 + 1) in patches, zero and mirrored ones apart.

    Movement along one axis in the course of the other shows here, in either direction.
    """
    half = int(power.shape[2]) // 2
    one_way, other_way = power[:, :, : half + 1], power[:, :, half + 1 :].flip(2)
    found = []
    for each in (one_way, other_way):
        if each.shape[2] < 2:
            continue
        for axis in (2, 3):
            edges = np.append(0, _band_edges(int(each.shape[axis]) - 1, N_PATCHES - 1) + 1)
            each = _sums(each.movedim(axis, 3), edges).movedim(3, axis)
        found.append(each.flatten(2))
    return (torch.cat(found, 2) + FLOOR[kind]).log10()


def _band_edges(n: int, n_bands: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the edges of bands of equal ratio among ``n`` frequencies above zero."""
    edges = np.geomspace(1, n + 1, n_bands + 1).round().astype(np.int64) - 1
    return np.unique(edges)


def _spread(x: Tensor) -> Tensor:
    return root((x - x.mean(-1, keepdim=True)).square().mean(-1))


def _median(x: Tensor) -> Tensor:
    """Return the lower or upper median of lines (..., n)."""
    if torch.onnx.is_in_onnx_export():  # which has no operation that selects
        return _at(x.sort(-1).values, 0.5)
    return x.kthvalue(1 + round(0.5 * (int(x.shape[-1]) - 1)), -1).values


def _ordered(x: Tensor) -> Tensor:
    """Return the values of lines (..., n) in rising order.

    NumPy sorts seven times as fast as PyTorch on a CPU, and quantiles are most of a view's work.
    """
    if x.requires_grad or x.device.type != "cpu" or torch.onnx.is_in_onnx_export():
        return x.sort(-1).values
    return torch.from_numpy(np.sort(x.numpy(), -1))


def _at(ordered: Tensor, share: float) -> Tensor:
    """Return the value at a share of the way through ordered values (..., n)."""
    return ordered[..., round(share * (int(ordered.shape[-1]) - 1))]
