"""Labels: names and units of channels, targets and axes, and the physics of named targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_utils.base.config import Config
from hpo_utils.base.errors import DataError
from hpo_utils.data.physics import Physics, find_physics
from hpo_utils.formats.sources import ArraySource

CARD = (  # entries of ``dataset.card``
    "description", "creator", "instrument", "recorded", "published", "license",
    "reference_method", "url", "citation", "version",
)  # fmt: skip
LARGEST = 1e30  # standard deviation of a reference that can be meant
NO_LABELS = ("", "nan", "none", "null", "nat", "<na>", "n/a", "#n/a")  # in pandas, NumPy, Excel


def is_no_label(text: str) -> bool:
    """Return whether a text stands for a missing name."""
    return text.strip().lower() in NO_LABELS


def find_labels(cfg: Config, x: ArraySource, t: ArraySource) -> dict[str, Any]:
    """Return names and units of channels, targets and axes, with defaults where none are given.

    Parameters
    ----------
    cfg
        Its section ``dataset`` is read.
    x, t
        Inputs and targets; their shapes are used, and the labels that their files give.

    Returns
    -------
    dict of lists
        ``channel_names``, ``target_names``, ``target_units``, ``axis_names``; the names of the
        targets that are known to be ``fractions`` or ``non_negative``; the numbers of the
        ``logarithmic`` ones; ``target_repeatability`` and ``input_noise``, None if not known; the
        ``card``; and
        ``axis_ranges``, None if positions along the axes are counted.

    Raises
    ------
    DataError
        If the number of names does not match the arrays, two targets share a name, a name
        stands for a missing one or cannot be drawn in a figure, a setting names an unknown channel
        or target, or an axis has no valid range.
    """
    n_targets = 1 if len(t.shape) == 1 else t.shape[1]
    axes = ["position"] if len(x.shape) < 4 else ["row", "column"]
    expected: dict[str, Any] = {
        "channel_names": [f"channel {i}" for i in range(x.n_channels)],
        "target_names": [f"target {i}" for i in range(n_targets)],
        "target_units": ["-"] * n_targets,
        "axis_names": axes,
    }
    told = {**x.labels, **t.labels}
    for key, default in expected.items():
        given = getattr(cfg.dataset, key)
        given = told.get(key) if given is None else given
        if given is not None and len(given) != len(default):
            raise DataError(
                f"dataset.{key} must have {len(default)} entries to match the arrays, got"
                f" {len(given)}: {', '.join(given)}"
            )
        expected[key] = default if given is None else list(given)
    if len(set(expected["target_names"])) < n_targets:
        raise DataError(
            "dataset.target_names must differ from each other, got"
            f" {', '.join(expected['target_names'])}"
        )
    for key in ("channel_names", "target_names", "axis_names"):
        if none := [name for name in expected[key] if is_no_label(name)]:
            raise DataError(
                f"dataset.{key} must hold names, got {none[0]!r}, which says that there is none:"
                " choose another name"
            )
    known = [*expected["channel_names"], *expected["target_names"]]
    for name in cfg.dataset.accept_outliers or []:
        if name not in known:
            raise DataError(
                f"dataset.accept_outliers must name channels or targets of {', '.join(known)},"
                f" got {name!r}"
            )
    for name in (name for names in expected.values() for name in names if "$" in name):
        _check_mathematics(name)
    expected["fractions"] = list(cfg.dataset.fractions or [])
    expected["non_negative"] = list(cfg.dataset.non_negative or [])
    labelled_physics(expected)
    expected["logarithmic"] = _logarithmic(cfg, expected)
    expected["target_repeatability"] = _repeatability(cfg, expected["target_names"])
    expected["input_noise"] = _input_noise(cfg, expected["channel_names"])
    expected["card"] = _card(cfg)
    expected["axis_ranges"] = _axis_ranges(
        cfg.dataset.axis_ranges or told.get("axis_ranges"), len(axes)
    )
    return expected


def _card(cfg: Config) -> dict[str, str]:
    """Return ``dataset.card``; raise DataError if it has an unknown entry."""
    given = dict(cfg.dataset.card or {})
    if unknown := sorted(given.keys() - set(CARD)):
        raise DataError(f"dataset.card must have entries of {', '.join(CARD)}, got {unknown[0]!r}")
    return given


def _logarithmic(cfg: Config, labels: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the targets in ``dataset.logarithmic``."""
    names, given = labels["target_names"], cfg.dataset.logarithmic or []
    for name in given:
        if name not in names:
            raise DataError(
                f"dataset.logarithmic must name targets of {', '.join(names)}, got {name!r}"
            )
        if name in (*labels["fractions"], *labels["non_negative"]):
            raise DataError(
                f"{name!r} is in dataset.logarithmic, which keeps it above zero already: leave it"
                " out of dataset.fractions and dataset.non_negative"
            )
    return sorted(names.index(name) for name in given)


def _repeatability(cfg: Config, names: list[str]) -> list[float | None] | None:
    """Return ``dataset.target_repeatability``; raise DataError unless it fits the targets."""
    if cfg.dataset.target_repeatability is None:
        return None
    given = list(cfg.dataset.target_repeatability)
    if len(given) != len(names) or any(
        value is not None and not 0 < value < LARGEST for value in given
    ):
        raise DataError(
            "dataset.target_repeatability must hold a standard deviation above 0, or null, for each"
            f" of {len(names)} targets, got {given}"
        )
    return given


def _input_noise(cfg: Config, names: list[str]) -> list[float] | None:
    """Return ``dataset.input_noise``; raise DataError unless it fits the channels."""
    if cfg.dataset.input_noise is None:
        return None
    given = list(cfg.dataset.input_noise)
    if len(given) != len(names) or not all(0 <= value < float("inf") for value in given):
        raise DataError(
            "dataset.input_noise must hold a standard deviation, 0 or more, for each of"
            f" {len(names)} channels, got {given}"
        )
    return given


def _axis_ranges(given: list[list[float]] | None, n_axes: int) -> list[list[float]] | None:
    """Return the first and last value of each axis; raise DataError if they are not valid."""
    if given is None:
        return None
    ranges = [[float(value) for value in ends] for ends in given]
    whole = all(len(ends) == len(set(ends)) == 2 and np.isfinite(ends).all() for ends in ranges)
    if len(ranges) != n_axes or not whole:
        raise DataError(
            f"dataset.axis_ranges must hold two different values, the first and the last, for each"
            f" of {n_axes} axes, got {ranges}: for example [[0, 0.5]] for half a second"
        )
    return ranges


def axis_positions(manifest: Mapping[str, Any], step: int = 1) -> list[NDArray[np.float64]]:
    """Return the values along each axis of the inputs; the first axis keeps every ``step``-th.

    Without ``dataset.axis_ranges`` the values are counted from zero.
    """
    sizes = manifest["sample_shape"][1:]
    ranges = manifest.get("axis_ranges") or [[0, size - 1] for size in sizes]
    first, *others = (
        np.linspace(start, stop, size) for (start, stop), size in zip(ranges, sizes, strict=True)
    )
    return [first[::step], *others]


def labelled_physics(labels: Mapping[str, Any]) -> Physics:
    """Return the physics from the result of ``find_labels``, or from a manifest that contains it.

    Raises
    ------
    DataError
        If a name is not that of a target.
    """
    return find_physics(labels["target_names"], labels["fractions"], labels["non_negative"])


def _check_mathematics(name: str) -> None:
    """Raise DataError if matplotlib cannot draw the formulas between dollar signs in a name."""
    from matplotlib.mathtext import MathTextParser  # slow import that few names need

    try:
        MathTextParser("agg").parse(name)
    except ValueError as error:
        raise DataError(
            "names may have formulas between dollar signs that matplotlib can draw, got"
            f" {name!r}: {str(error).strip().splitlines()[-1]}; correct it or leave out the $"
        ) from None
